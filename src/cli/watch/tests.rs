//! The live view as a whole.
