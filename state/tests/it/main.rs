//! What the state room promises, tried from outside: properties against plain models, one contract
//! for every store, saved forms of every version, the rules of records, mailboxes, threads and
//! saved answers.
//!
//! One binary, so that it links once. Time is moved by hand and nothing sleeps.

mod job_rows;
mod mailboxes;
mod owned_threads;
mod properties;
mod records;
mod redelivery;
mod retention;
mod saved_answers;
mod snapshot_compat;
mod store_contract;
mod store_disk;
mod store_readers;
mod threads;
mod whatsapp;
