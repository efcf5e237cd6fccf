//! stub
pub mod fields;
pub mod spec;
pub use fields::{Field, Fields};
pub use spec::{FilterSpec, UseDns};
