//! The table of reasons for people.
