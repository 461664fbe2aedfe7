use super::*;
use crate::backend::gpu::ptx;
use crate::model::PadLow;

#[test]
fn counts_of_a_larger_batch_are_those_that_the_emulator_counts_there() {
    let versions = [KernelVersion::V1, KernelVersion::V2, KernelVersion::V3];
    for (small, c_big, c_small) in [(16, 16, 32), (32, 1, 16)] {
        let layer = StridedLayer {
            small,
            c_big,
            c_small,
            pad_low: PadLow::One,
        };
        for (operation, version) in ConvOperation::ALL
            .into_iter()
            .flat_map(|operation| versions.map(|version| (operation, version)))
        {
            let batch = 5;
            let case = Case {
                operation,
                version,
                layer,
                batch,
            };
            let counted = count(ptx::committed(), &case).unwrap();
            let mut l =
                Launcher::new(Emulated::new(EmulatedOptions::default()), ptx::committed()).unwrap();
            l.driver.keep_launches();
            let (launched, _) = run(&mut l, &case, batch).unwrap();
            let expected = Counts::from(&launched[0].counters);
            assert_eq!(
                counted.counts, expected,
                "{} {version:?} {small}",
                counted.kernel
            );
            assert_eq!(launched[0].kernel, counted.kernel);
            if let Some(merge) = counted.merge {
                assert_eq!(merge, Counts::from(&launched[1].counters), "{version:?}");
            }
        }
    }
}
