//! Pages for people, built in.
