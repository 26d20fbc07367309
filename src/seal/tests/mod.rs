//! The seal rules as scenarios, one file per rule, and as properties over random histories.
