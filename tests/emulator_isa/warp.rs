//! Exchanges between the lanes of a warp: `shfl`, `vote`, `match`, `redux`, `elect`, `activemask`,
//! `bar.warp`.

use rand::RngExt;

use crate::harness::{Kernel, accepted, numbers, product, random, words};

pub fn candidates() -> Vec<String> {
    [
        product(
            &["shfl"],
            &[
                &["", "sync"],
                &["up", "down", "bfly", "idx"],
                &["b32", "b64"],
            ],
        ),
        product(
            &["vote"],
            &[
                &["", "sync"],
                &["all", "any", "uni", "ballot"],
                &["pred", "b32"],
            ],
        ),
        product(
            &["match"],
            &[&["any", "all"], &["", "sync"], &["b32", "b64"]],
        ),
        product(
            &["redux"],
            &[
                &["", "sync"],
                &["add", "min", "max", "and", "or", "xor"],
                &["", "abs"],
                &["", "NaN"],
                &["u32", "s32", "b32", "f32", "b64"],
            ],
        ),
        product(&["elect"], &[&["", "sync"], &["", "b32"]]),
        product(&["activemask"], &[&["b32", "b64"]]),
        product(&["bar"], &[&["warp"], &["sync", "arrive"]]),
    ]
    .concat()
}

/// Lanes take part in the groups of these masks; every lane brings `%r1` (`%rd1` for 64 bits) and
/// has its mask in `%r2`, and for `shfl` b and c in `%r3` and `%r4`; results go to `%r5` and `%p1`.
fn kernel(form: &str) -> Kernel {
    let operands = match words(form)[0] {
        "shfl" => "%r5|%p1, %r1, %r3, %r4, %r2",
        "vote" if form.ends_with("b32") => "%r5, %p2, %r2",
        "vote" => "%p1, !%p2, %r2",
        "match" if form.ends_with("b64") && form.contains("all") => "%r5|%p1, %rd1, %r2",
        "match" if form.ends_with("b64") => "%r5, %rd1, %r2",
        "match" if form.contains("all") => "%r5|%p1, %r1, %r2",
        "elect" => "%r5|%p1, %r2",
        "activemask" => "%r5",
        "bar" => "%r2",
        _ => "%r5, %r1, %r2",
    };
    // Lanes arrive in two parts, as their bit in the third word says.
    Kernel::new(
        &format!(
            "mad.wide.u32 %rd2, %i, 20, %in0;\n\
             ld.global.b32 %r1, [%rd2]; ld.global.b32 %r2, [%rd2+4]; ld.global.b32 %r3, [%rd2+8];\n\
             ld.global.b32 %r4, [%rd2+12]; ld.global.b32 %r6, [%rd2+16];\n\
             mov.b64 %rd1, {{%r3, %r1}};\nmov.b32 %r5, 0; setp.ne.b32 %p1, 0, 0;\n\
             and.b32 %r7, %r1, 1; setp.ne.b32 %p2, %r7, 0; setp.ne.b32 %p3, %r6, 0;\n\
             @%p3 bra other;\n{form} {operands};\nbra done;\nother:\n{form} {operands};\ndone:\n\
             selp.b32 %r8, 1, 0, %p1; st.global.v2.b32 [%o], {{%r5, %r8}};"
        ),
        32,
        8,
        1,
    )
}

pub fn ptx(form: &str) -> String {
    kernel(form).ptx().to_owned()
}

pub fn forms() -> Vec<String> {
    accepted(candidates(), ptx)
}

/// What a lane brings.
#[derive(Clone, Copy, Debug)]
struct Lane {
    value: u32,
    mask: u32,
    b: u32,
    c: u32,
}

fn shuffle(mode: &str, lanes: &[Lane; 32], lane: u32) -> (u32, bool) {
    // The ISA's own steps.
    let (b, c) = (lanes[lane as usize].b & 31, lanes[lane as usize].c & 31);
    let segment = lanes[lane as usize].c >> 8 & 31;
    let max_lane = (lane & segment) | (c & !segment);
    let min_lane = lane & segment;
    let (source, inside) = match mode {
        "up" => {
            let j = i64::from(lane) - i64::from(b);
            (j, j >= i64::from(max_lane))
        }
        "down" => (i64::from(lane + b), lane + b <= max_lane),
        "bfly" => (i64::from(lane ^ b), lane ^ b <= max_lane),
        _ => {
            let j = min_lane | (b & !segment);
            (i64::from(j), j <= max_lane)
        }
    };
    let source = if inside {
        source as usize
    } else {
        lane as usize
    };
    (lanes[source].value, inside)
}

/// Register and predicate of a lane.
fn reference(form: &str, lanes: &[Lane; 32], lane: usize) -> (u32, bool) {
    let all = words(form);
    let own = lanes[lane];
    let group: Vec<(usize, Lane)> = (0..32)
        .filter(|&i| own.mask >> i & 1 == 1)
        .map(|i| (i, lanes[i]))
        .collect();
    let mask_of = |holds: &dyn Fn(&Lane) -> bool| {
        group
            .iter()
            .filter(|(_, l)| holds(l))
            .fold(0, |all, (i, _)| all | 1 << i)
    };
    let wide = |l: &Lane| match form.ends_with("b64") {
        true => u64::from(l.value) << 32 | u64::from(l.b),
        false => u64::from(l.value),
    };
    let odd = |l: &Lane| l.value & 1 == 1;
    let count = group.iter().filter(|(_, l)| odd(l)).count();
    let reduce =
        |f: &dyn Fn(u32, u32) -> u32| group.iter().map(|(_, l)| l.value).reduce(f).unwrap();
    match (all[0], *all.get(2).unwrap_or(&"")) {
        ("shfl", mode) => shuffle(mode, lanes, lane as u32),
        // The kernel votes on even values.
        ("vote", "all") => (0, count == 0),
        ("vote", "any") => (0, count < group.len()),
        ("vote", "uni") => (0, count == 0 || count == group.len()),
        ("vote", _) => (mask_of(&odd), false),
        ("match", _) => {
            let same = mask_of(&|l| wide(l) == wide(&own));
            match all[1] {
                "any" => (same, false),
                _ => (if same == own.mask { same } else { 0 }, same == own.mask),
            }
        }
        ("redux", operation) => {
            let signed = form.ends_with("s32");
            let flip = if signed { 1 << 31 } else { 0 };
            let value = match operation {
                "add" => reduce(&|a, b| a.wrapping_add(b)),
                "min" => reduce(&|a, b| if a ^ flip < b ^ flip { a } else { b }),
                "max" => reduce(&|a, b| if a ^ flip > b ^ flip { a } else { b }),
                "and" => reduce(&|a, b| a & b),
                "or" => reduce(&|a, b| a | b),
                _ => reduce(&|a, b| a ^ b),
            };
            (value, false)
        }
        ("elect", _) => (
            own.mask.trailing_zeros(),
            own.mask.trailing_zeros() == lane as u32,
        ),
        _ => (0, false),
    }
}

#[test]
fn lanes_exchange_within_their_masks() {
    for form in forms()
        .into_iter()
        .filter(|form| !form.starts_with("activemask"))
    {
        let kernel = kernel(&form);
        let mut random = random(&form);
        for round in 0..60 {
            // One mask of all lanes, or the lanes are dealt to two masks that meet at different
            // places of the code.
            let first = if round % 3 == 0 {
                u32::MAX
            } else {
                random.random()
            };
            let few = round % 2 == 0;
            let segment = [0u32, 0x1c, 0x18, 0x10, 0x1f][random.random_range(0..5)];
            let clamp = if form.contains("up") { 0 } else { 0x1f };
            let shuffles = form.starts_with("shfl");
            let mut lanes = [Lane {
                value: 0,
                mask: 0,
                b: 0,
                c: 0,
            }; 32];
            for (i, lane) in lanes.iter_mut().enumerate() {
                let value = if few {
                    random.random::<u32>() & 1
                } else {
                    random.random()
                };
                let mask = if first >> i & 1 == 1 { first } else { !first };
                let b = if few { 1 } else { random.random::<u32>() };
                let c = if random.random_range(0..4u32) == 0 {
                    random.random()
                } else {
                    clamp
                };
                *lane = Lane {
                    value,
                    mask,
                    b,
                    c: segment << 8 | c,
                };
                if shuffles && round % 3 != 0 {
                    // A source outside the mask is not defined: the lane asks for itself.
                    *lane = Lane {
                        b: if form.contains("idx") { i as u32 } else { 0 },
                        c: clamp,
                        ..*lane
                    };
                }
            }
            if round % 5 == 0 {
                // Now and then all agree.
                lanes
                    .iter_mut()
                    .for_each(|lane| (lane.value, lane.b) = (7, if shuffles { lane.b } else { 1 }));
            }
            let data: Vec<u8> = lanes
                .iter()
                .enumerate()
                .flat_map(|(i, l)| [l.value, l.mask, l.b, l.c, first >> i & 1])
                .flat_map(u32::to_le_bytes)
                .collect();
            let (out, _) = kernel.run(32 * 8, &[data]);
            for (lane, found) in numbers(&out, 8).into_iter().enumerate() {
                let (value, holds) = reference(&form, &lanes, lane);
                let expected = u64::from(value) | u64::from(holds) << 32;
                assert_eq!(found, expected, "{form}: lane {lane} of {lanes:x?}");
            }
        }
    }
}

#[test]
fn the_active_mask_names_the_lanes_that_are_here() {
    let form = "activemask.b32";
    assert!(forms().iter().any(|accepted| accepted == form));
    let body = format!(
        "setp.lt.u32 %p1, %i, 11;\nmov.b32 %r1, 0;\n@%p1 {form} %r1;\n@%p1 bra small;\n{form} %r1;\nsmall:\n\
         st.global.b32 [%o], %r1;"
    );
    let (out, _) = Kernel::new(&body, 32, 4, 0).run(128, &[]);
    let expected: Vec<u64> = (0..32)
        .map(|i| if i < 11 { 0x7ff } else { 0xffff_f800 })
        .collect();
    assert_eq!(numbers(&out, 4), expected);
}
