//! The store: bans, failures and positions in SQLite.
