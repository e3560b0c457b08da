//! Places for the values of straight-line code: registers, or words of memory.

/// A step of straight-line code, as far as places go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The values that it reads. Those that no step computes have their own places, and need none here.
    pub reads: Vec<usize>,
    /// The value that it makes.
    pub makes: Option<usize>,
}

/// Where values are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slots {
    /// The place of each value that a step makes.
    pub of: Vec<Option<usize>>,
    /// How many places there are.
    pub count: usize,
}

/// Assigns a place to each of `values` that a step makes, and reuses it once the value is read for the
/// last time: places come free in the order of [`Step::reads`], and the last that came free is taken
/// first. A step reads before it writes, so what it makes may take the place of what it reads.
pub fn share(values: usize, steps: &[Step]) -> Slots {
    let mut last_read = vec![0; values];
    for (at, step) in steps.iter().enumerate() {
        step.reads.iter().for_each(|value| last_read[*value] = at);
    }
    let mut slots = Slots { of: vec![None; values], count: 0 };
    let mut free = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        for (i, value) in step.reads.iter().enumerate() {
            if last_read[*value] == at && !step.reads[..i].contains(value) {
                free.extend(slots.of[*value]);
            }
        }
        if let Some(value) = step.makes {
            let slot = free.pop().unwrap_or_else(|| {
                slots.count += 1;
                slots.count - 1
            });
            slots.of[value] = Some(slot);
        }
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::picks;

    /// Goal: no value is overwritten while it is needed, and no place is wasted. Method: random code, carried
    /// out on places that contain the number of the value in them; a place more than the values that live at
    /// once would be one too many.
    #[test]
    fn a_value_keeps_its_place_until_it_is_read_for_the_last_time() {
        for seed in 0..200 {
            let mut pick = picks(seed, "slots");
            // No step computes values 0 to 3.
            let values = 4 + 40;
            let steps: Vec<Step> = (4..values)
                .map(|made| {
                    let reads = (0..pick(4)).map(|_| made - 1 - pick(made.min(12))).collect();
                    Step { reads, makes: (pick(8) > 0).then_some(made) }
                })
                .collect();
            let slots = share(values, &steps);
            let is_made = |value: usize| steps.iter().any(|step| step.makes == Some(value));
            let mut held = vec![None; slots.count];
            let mut most = 0;
            for (at, step) in steps.iter().enumerate() {
                for read in step.reads.iter().filter(|read| is_made(**read)) {
                    let slot = slots.of[*read].unwrap();
                    assert_eq!(held[slot], Some(*read), "step {at}, seed {seed}");
                }
                if let Some(value) = step.makes {
                    held[slots.of[value].unwrap()] = Some(value);
                }
                // An unread value keeps its place.
                let is_read = |value: usize, steps: &[Step]| {
                    steps.iter().any(|step| step.reads.contains(&value))
                };
                let made = steps[..=at].iter().filter_map(|step| step.makes);
                let living = made.filter(|made| {
                    is_read(*made, &steps[at + 1..]) || !is_read(*made, &steps[..=at])
                });
                most = most.max(living.count());
            }
            assert_eq!(slots.count, most, "seed {seed}");
        }
    }
}
