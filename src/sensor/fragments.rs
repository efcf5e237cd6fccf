//! Puts the first bytes of fragmented packets together: ports and flags, never more.

/// Fragments whose packet's beginning is not known yet; bounded.
#[derive(Debug, Default)]
pub(super) struct Fragments {}
