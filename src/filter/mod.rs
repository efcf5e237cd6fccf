//! stub
pub mod spec;
pub use spec::{FilterSpec, UseDns};
