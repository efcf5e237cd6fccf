//! All jails: an event goes in, what is to be done comes out.
