//! stub

pub mod report;
