//! Memories of one block.
