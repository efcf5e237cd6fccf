//! A jail: counts failures, decides on bans, knows when each ends.
