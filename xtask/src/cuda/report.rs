//! Reads what the assembler reports about a kernel, and the contents of its listing.

use std::collections::BTreeMap;

use anyhow::Context;

/// What one kernel takes on one architecture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Cost {
    /// Most threads of a block, from the kernel's launch bounds.
    #[serde(default)]
    pub(crate) threads: u32,
    pub(crate) registers: u32,
    /// Written to and read from memory because registers ran out, in the kernel and what it calls.
    pub(crate) spill_bytes: u32,
    /// Local memory of a thread, arrays included.
    pub(crate) stack_bytes: u32,
    /// Of a block, without what a launch adds.
    pub(crate) shared_bytes: u32,
    /// Without those that only fill up the last line of code.
    pub(crate) instructions: u32,
    /// Of these: wide multiply-adds, other multiply-adds, additions.
    pub(crate) wide: u32,
    pub(crate) narrow: u32,
    pub(crate) additions: u32,
}

impl Cost {
    /// What the arithmetic of a product takes.
    pub(crate) const fn arithmetic(&self) -> u32 {
        self.wide + self.narrow + self.additions
    }
}

/// The number before `unit` in a line, or 0.
fn number_before(line: &str, unit: &str) -> u32 {
    line.split(unit)
        .next()
        .filter(|before| before.len() < line.len())
        .and_then(|before| before.rsplit([' ', ',']).find(|word| !word.is_empty()))
        .and_then(|word| word.parse().ok())
        .unwrap_or(0)
}

/// Reads `ptxas -v`. What it says after naming a kernel, until it names the next, is about that kernel
/// and the functions that it calls.
pub(crate) fn resources(printed: &str) -> anyhow::Result<BTreeMap<String, Cost>> {
    let mut costs: BTreeMap<String, Cost> = BTreeMap::new();
    let mut current = None;
    for line in printed.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            let name = rest.split('\'').next().context("a kernel without a name")?;
            current = Some(name.to_owned());
            costs.entry(name.to_owned()).or_default();
        }
        let Some(cost) = current.as_ref().and_then(|name| costs.get_mut(name)) else { continue };
        if line.contains("bytes spill stores") {
            cost.spill_bytes += number_before(line, " bytes spill stores");
            cost.spill_bytes += number_before(line, " bytes spill loads");
            cost.stack_bytes = cost.stack_bytes.max(number_before(line, " bytes stack frame"));
        }
        if line.contains(": Used ") {
            cost.registers = number_before(line, " registers");
            cost.shared_bytes = number_before(line, " bytes smem");
            let whole = number_before(line, " bytes cumulative stack size");
            cost.stack_bytes = cost.stack_bytes.max(whole);
        }
    }
    Ok(costs)
}

/// The launch bound of each kernel of a PTX file.
pub(crate) fn launch_bounds(ptx: &str) -> BTreeMap<String, u32> {
    let mut bounds = BTreeMap::new();
    let mut current = None;
    for line in ptx.lines() {
        if let Some((_, rest)) = line.split_once(".visible .entry ") {
            current = rest.split('(').next();
        }
        let Some((_, rest)) = line.split_once(".maxntid") else { continue };
        let first = rest.split(',').next().unwrap_or_default();
        if let (Some(kernel), Ok(threads)) = (current, first.trim().parse()) {
            bounds.insert(kernel.to_owned(), threads);
        }
    }
    bounds
}

/// Adds the instructions of a listing by `cuobjdump -sass`.
pub(crate) fn count(listing: &str, costs: &mut BTreeMap<String, Cost>) -> anyhow::Result<()> {
    let mut current: Option<&mut Cost> = None;
    for line in listing.lines() {
        if let Some((_, name)) = line.split_once("Function : ") {
            let name = name.trim();
            let cost = costs.get_mut(name).with_context(|| format!("no report on {name}"))?;
            current = Some(cost);
            continue;
        }
        let (Some(cost), Some(operation)) = (current.as_mut(), operation(line)) else { continue };
        let parts: Vec<&str> = operation.split('.').collect();
        if parts[0] == "NOP" {
            continue;
        }
        cost.instructions += 1;
        match parts[0] {
            "IMAD" if parts.get(1) == Some(&"WIDE") => cost.wide += 1,
            // Moves, shifts and additions in the clothes of a multiply-add.
            "IMAD" if matches!(parts.get(1), Some(&("MOV" | "SHL" | "IADD"))) => {}
            "IMAD" => cost.narrow += 1,
            "IADD3" | "IADD" | "VIADD" => cost.additions += 1,
            _ => {}
        }
    }
    Ok(())
}

/// The operation of a line like `/*0070*/  @!P0 IMAD.WIDE.U32 R2, R4, R5, R2 ;  /* 0x… */`.
fn operation(line: &str) -> Option<&str> {
    let (address, rest) = line.trim_start().strip_prefix("/*")?.split_once("*/")?;
    // The second line of an encoding has no address.
    if address.len() < 4 || !address.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut words = rest.split_whitespace();
    let first = words.next()?;
    let name = if first.starts_with('@') { words.next()? } else { first };
    Some(name.trim_end_matches(';'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'one' for 'sm_90'
ptxas info    : Function properties for one
    512 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 48 registers, used 1 barriers, 520 bytes cumulative stack size, 16 bytes smem
ptxas info    : Compile time = 13.455 ms
ptxas info    : Function properties for _Z3subv
    0 bytes stack frame, 0 bytes spill stores, 12 bytes spill loads
ptxas info    : Compiling entry function 'two' for 'sm_90'
ptxas info    : Function properties for two
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 8 registers, used 0 barriers
";

    const LISTING: &str = "\
	code for sm_90
		Function : two
	.headerflags	@\"EF_CUDA_SM90\"
        /*0000*/                   LDC R1, c[0x0][0x28] ;    /* 0x00000a00ff017b82 */
                                                             /* 0x000e220000000800 */
        /*0010*/              @!P0 IMAD.WIDE.U32 R2, P1, R4, R5, R2 ;  /* 0x0 */
        /*0020*/                   IMAD.HI.U32 R2, R4, R5, R2 ;  /* 0x0 */
        /*0030*/                   IMAD.MOV.U32 R2, RZ, RZ, R2 ;  /* 0x0 */
        /*0040*/                   IADD3.X R2, R4, R5, RZ, P1, !PT ;  /* 0x0 */
        /*0050*/                   EXIT ;  /* 0x0 */
        /*0060*/                   NOP;  /* 0x0 */
";

    #[test]
    fn spills_of_called_functions_count_for_the_kernel() {
        let costs = resources(PRINTED).unwrap();
        let one = costs["one"];
        assert_eq!((one.registers, one.spill_bytes, one.stack_bytes), (48, 24, 520));
        assert_eq!(one.shared_bytes, 16);
        assert_eq!(costs["two"], Cost { registers: 8, ..Cost::default() });
    }

    #[test]
    fn launch_bounds_are_those_of_the_entry_above() {
        let ptx = ".visible .entry one(\n.param .u64 a\n)\n.maxntid 256, 1, 1\n{\n}\n\
                   .visible .entry two()\n.maxntid 128\n{\n}\n.visible .entry three()\n{\n}\n";
        let bounds = launch_bounds(ptx);
        assert_eq!(bounds, BTreeMap::from([("one".to_owned(), 256), ("two".to_owned(), 128)]));
    }

    #[test]
    fn instructions_are_counted_without_filling_and_by_their_kind() {
        let mut costs = resources(PRINTED).unwrap();
        count(LISTING, &mut costs).unwrap();
        let two = costs["two"];
        assert_eq!((two.instructions, two.wide, two.narrow, two.additions), (6, 1, 1, 1));
        assert_eq!(two.arithmetic(), 3);
        assert!(count("Function : three", &mut costs).is_err());
    }
}
