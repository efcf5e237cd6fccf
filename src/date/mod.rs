//! stub
#![allow(missing_docs)]
use crate::time::Timestamp;
#[derive(Debug, Clone)]
pub struct DateMatch { pub cut: std::ops::Range<usize>, pub template: usize }
#[derive(Debug)]
pub struct DateDetector;
impl DateDetector {
    pub fn find(&mut self, _line: &str, _now: Timestamp) -> Option<DateMatch> { None }
    pub fn find_again(&mut self, _line: &[u8], _now: Timestamp) -> Option<DateMatch> { None }
    pub fn time(&self, _line: &str, _found: &DateMatch, _now: Timestamp) -> Option<Timestamp> { None }
}
