//! Integration tests of the workspace through real mounts.
#![forbid(unsafe_code)]
