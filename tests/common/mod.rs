//! What several end-to-end tests need.

#![allow(dead_code)] // Each test binary uses its own part.

use std::path::PathBuf;

/// The folder `../shared/<name>`, or `variable`'s value when that is set. Where it is absent the
/// test prints a word and is skipped, unless `COSMOGAN_REQUIRE_SHARED=1` makes that a failure.
pub fn shared(name: &str, variable: Option<&str>) -> Option<PathBuf> {
    let path = variable.and_then(std::env::var_os).map_or_else(
        || {
            PathBuf::from(env!("CARGO_MANIFEST_DIR"))
                .join("../shared")
                .join(name)
        },
        PathBuf::from,
    );
    if path.exists() {
        return Some(path);
    }
    let required = std::env::var("COSMOGAN_REQUIRE_SHARED").is_ok_and(|value| value == "1");
    assert!(!required, "{} is absent and required", path.display());
    println!("skipped: {} is absent", path.display());
    None
}
