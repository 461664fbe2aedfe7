//! What a GPU allows: the limits that a launch is held to.

/// The limits of one compute capability. Source: CUDA C++ Programming Guide, table "Technical
/// Specifications per Compute Capability".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// As in PTX's `.target`, without suffix.
    pub name: &'static str,
    /// Ten times the compute capability.
    pub capability: u32,
    /// Bytes of shared memory, static and dynamic, that one block may have.
    pub shared_bytes_per_block: usize,
    /// 32-bit registers of one block.
    pub registers_per_block: u32,
    /// 32-bit registers of one thread.
    pub registers_per_thread: u32,
    /// Threads of one block.
    pub threads_per_block: u32,
}

/// Bytes of static shared memory that any kernel may declare.
pub const STATIC_SHARED_BYTES: usize = 48 << 10;

/// Largest grid and block, axis by axis; the same for every profile.
pub const GRID_LIMITS: [u32; 3] = [i32::MAX as u32, 65_535, 65_535];
pub const BLOCK_LIMITS: [u32; 3] = [1024, 1024, 64];

const fn profile(name: &'static str, capability: u32, shared_kib: usize) -> Profile {
    Profile {
        name,
        capability,
        shared_bytes_per_block: shared_kib << 10,
        registers_per_block: 65_536,
        registers_per_thread: 255,
        threads_per_block: 1024,
    }
}

impl Profile {
    pub const SM_75: Self = profile("sm_75", 75, 64);
    pub const SM_80: Self = profile("sm_80", 80, 163);
    pub const SM_86: Self = profile("sm_86", 86, 99);
    pub const SM_90: Self = profile("sm_90", 90, 227);

    /// All profiles, oldest first.
    pub const ALL: [Self; 4] = [Self::SM_75, Self::SM_80, Self::SM_86, Self::SM_90];

    /// The profile of a name such as `sm_80`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name == name)
    }

    /// Whether this device runs PTX of `target`, as the driver's just-in-time compiler would:
    /// `sm_80` runs here and on everything later, `sm_90a` on 9.0 alone.
    pub fn runs(&self, target: &str) -> bool {
        let Some(digits) = target.strip_prefix("sm_") else {
            return false;
        };
        match digits.strip_suffix('a') {
            Some(exact) => exact.parse() == Ok(self.capability),
            None => digits
                .parse::<u32>()
                .is_ok_and(|least| least <= self.capability),
        }
    }

    /// The oldest profile that runs PTX of `target`.
    pub fn for_target(target: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.runs(target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_runs_ptx_of_its_own_and_older_targets_only() {
        assert!(Profile::SM_90.runs("sm_75") && Profile::SM_90.runs("sm_90a"));
        assert!(!Profile::SM_80.runs("sm_90") && !Profile::SM_86.runs("sm_80a"));
        assert!(!Profile::SM_80.runs("compute_80") && !Profile::SM_80.runs("sm_"));
        assert_eq!(Profile::for_target("sm_89"), Some(Profile::SM_90));
    }
}
