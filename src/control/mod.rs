//! The control socket: what the client asks and what the server answers.
