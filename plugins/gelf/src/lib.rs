//! Sends logs to GELF servers.
