//! Which accesses are ordered: within a block for shared memory ([`Shadow`]), between blocks for
//! global memory ([`Conflicts`]).

mod conflicts;
mod found;
mod shadow;

pub use conflicts::{Accesses, Conflict, Conflicts, Numbers};
pub use found::Found;
pub use shadow::Shadow;
