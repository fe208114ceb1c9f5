//! What the reliability tools leave behind: every rendering as it was agreed, schemas that real
//! files keep, and pages that need neither network nor scripts (OPERATIONS.md §7, §8).

mod fixed;
mod golden;
mod offline;
mod schemas;
mod trend;
