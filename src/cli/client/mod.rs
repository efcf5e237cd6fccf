//! `sentryban-client`: talks to the server.
