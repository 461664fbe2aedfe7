//! What a relabelling keeps together and what it may exchange.

use super::*;

fn design() -> Design {
    let real = Parents::from_ids([7, 7, 9, 9, 9, 4, 4, 1, 1]);
    let generated = Parents::blocks(7, 2);
    Design::new(&real, &generated).unwrap()
}

#[test]
fn parents_are_numbered_in_order_of_appearance() {
    let parents = Parents::from_ids([70, 70, 9, 70, 9]);
    assert_eq!(parents.of_map(), [0, 0, 1, 0, 1]);
    assert_eq!((parents.maps(), parents.count()), (5, 2));
    assert_eq!(Parents::singles(3), Parents::from_ids([5, 4, 3]));
    assert_eq!(Parents::blocks(5, 2).of_map(), [0, 0, 1, 1, 2]);
}

#[test]
fn labels_are_dealt_among_parents_of_one_size_only() {
    let design = design();
    assert_eq!(design.maps(), (9, 7));
    assert_eq!(design.parents(), (4, 4));
    // Pairs: 3 real, 3 generated; the triple and the single stay.
    assert!((design.ln_relabellings() - 20_f64.ln()).abs() < 1e-12);
    let mut seen = std::collections::BTreeMap::new();
    for repeat in 0..4000 {
        let labels = design.relabelled(3, repeat);
        assert!(labels[1] && !labels[7]);
        let maps = design.of_map().iter().filter(|&&p| labels[p as usize]);
        assert_eq!(maps.count(), 9);
        *seen.entry(labels).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 20);
    // 200 each, standard deviation 13.8.
    assert!(
        seen.values().all(|count| (130..270).contains(count)),
        "{seen:?}"
    );
}

#[test]
fn a_bootstrap_draws_as_many_parents_as_there_are() {
    let design = design();
    let mut repeated = false;
    for repeat in 0..50 {
        let times = design.drawn(3, repeat);
        let sum = |side: usize| times.iter().map(|t| t[side]).sum::<u32>();
        assert_eq!((sum(0), sum(1)), (4, 4));
        assert_eq!((times[1], times[7]), ([1, 0], [0, 1]));
        repeated |= times.iter().any(|t| t[0] > 1);
    }
    assert!(repeated);
    assert_eq!(design.drawn(3, 5), design.drawn(3, 5));
    assert_ne!(design.drawn(3, 5), design.drawn(4, 5));
}

#[test]
fn samples_without_parents_alike_are_refused() {
    let real = Parents::blocks(12, 4);
    let refused = Design::new(&real, &Parents::singles(12)).unwrap_err();
    assert_eq!(refused, StatsError::NotExchangeable);
    let refused = Design::new(&real, &Parents::singles(0)).unwrap_err();
    assert_eq!(refused, StatsError::Empty);
}
