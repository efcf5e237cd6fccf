//! stub
/// stub
#[derive(Debug)]
pub struct Tally;
