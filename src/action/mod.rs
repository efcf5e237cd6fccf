//! Banactions: how a firewall is told, as plans that somebody else runs.
