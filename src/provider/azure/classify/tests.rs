//! The table: each answer of Azure, and what it means.
