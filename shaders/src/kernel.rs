//! The kernels: source, bindings and pipeline of each.
//!
//! A pipeline takes up to seconds to compile, so each is compiled at its first use and kept.
#![allow(unsafe_code)]

use std::num::NonZeroU64;

use pollster::block_on;

use crate::adapter::{LimbForm, one_line};
use crate::pace::Pace;
use crate::params::{self, Declared, PARAMS_BYTES, Params};
use crate::pipelines::PipelineFile;
use crate::program::{PIECE, Program};
use crate::source::{assemble, assemble_piece};

/// What was compiled, or the compiler's error on one line.
pub(crate) type Compiled<T> = Result<T, String>;

/// How a kernel uses a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}
use Access::{Read, Write};

/// Source, entry point and interface of a kernel.
#[derive(Debug)]
pub(crate) struct Spec {
    /// The field that the source computes in, where it serves both.
    pub(crate) field: Option<&'static str>,
    pub(crate) source: &'static str,
    /// Entry point and parameters.
    pub(crate) params: &'static Declared,
    /// Threads of a workgroup.
    pub(crate) workgroup: u32,
    /// Bindings from 1 up.
    pub(crate) bindings: &'static [Access],
}

/// Makes the kernels from the table below: for each its parameters, its source (with the field that it computes in,
/// if the source serves both), the threads of a workgroup and its bindings from 1 up.
macro_rules! kernels {
    ($($name:ident: $params:ident in $source:literal $([$field:literal])?, $workgroup:literal, $bindings:expr;)+) => {
        /// Every entry point.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Kernel {
            $($name),+
        }

        impl Kernel {
            pub(crate) const ALL: &[Self] = &[$(Self::$name),+];

            pub(crate) fn spec(self) -> Spec {
                match self {
                    $(Self::$name => {
                        const BINDINGS: &[Access] = &$bindings;
                        let field = [$($field)?].first().copied();
                        spec::<params::$params>(field, $source, $workgroup, BINDINGS)
                    })+
                }
            }
        }
    };
}

kernels! {
    ProductFr: Product in "product" ["fr"], 64, [Read, Read, Write];
    ProductFq: Product in "product" ["fq"], 64, [Read, Read, Write];
    SumsFr: Sums in "product" ["fr"], 64, [Read, Read, Write];
    SumsFq: Sums in "product" ["fq"], 64, [Read, Read, Write];
    Widen: Widen in "vector", 64, [Write, Read];
    Combine: Combine in "vector", 64, [Write, Read, Read, Read, Read];
    Fold: Fold in "vector", 64, [Write, Read];
    Spread: Spread in "vector", 64, [Write, Read, Read];
    Invert: Invert in "vector", 64, [Write, Read];
    Reorder: Reorder in "ntt", 64, [Write, Read, Read];
    Scale: Scale in "ntt", 64, [Write, Read];
    PassLayers: PassLayers in "ntt", 128, [Write, Read];
    Across: Across in "ntt", 64, [Write, Read, Read, Write];
    Widest: Widest in "msm_digits", 64, [Read, Read, Write];
    Digits: Digits in "msm_digits", 64, [Read, Read, Write, Write];
    Blocks: Blocks in "msm_places", 256, [Read, Write, Write];
    CarryOver: CarryOver in "msm_places", 256, [Read, Write];
    Accumulate: Accumulate in "msm_buckets", 64, [Read, Read, Read, Read, Write];
    SumRuns: SumRuns in "msm_sums", 64, [Read, Read, Read, Write, Write];
    RowProgram: RowProgram in "row_program", 64, [Write, Write, Read, Read, Read];
}

/// Threads of a workgroup of a row program's piece, and its bindings: those of `RowProgram` without the code.
pub(crate) const PIECE_WORKGROUP: u32 = 64;
const PIECE_BINDINGS: &[Access] = &[Write, Write, Read, Read];

fn spec<P: Params>(
    field: Option<&'static str>,
    source: &'static str,
    workgroup: u32,
    bindings: &'static [Access],
) -> Spec {
    Spec { field, source, params: P::DECLARED, workgroup, bindings }
}

/// A kernel compiled for a device.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) pipeline: wgpu::ComputePipeline,
    pub(crate) layout: wgpu::BindGroupLayout,
    pub(crate) pace: Pace,
}

/// What the kernels of a device are compiled with.
#[derive(Debug)]
pub(crate) struct Compiler {
    pub(crate) device: wgpu::Device,
    pub(crate) form: LimbForm,
    pub(crate) checks: bool,
    /// Most workgroups of a dispatch.
    pub(crate) groups_max: u32,
    pub(crate) kept: Option<PipelineFile>,
}

impl Compiler {
    pub(crate) fn kernel(&self, kernel: Kernel) -> Compiled<Pipeline> {
        let spec = kernel.spec();
        let made = self.compile(spec.params.entry, assemble(&spec, self.form)?, spec.bindings)?;
        self.save();
        Ok(made)
    }

    fn save(&self) {
        if let Some(file) = &self.kept {
            file.save();
        }
    }

    /// The pieces of a row program.
    pub(crate) fn pieces(&self, program: &Program) -> Compiled<Vec<Pipeline>> {
        let compile =
            |piece: String| self.compile(PIECE, assemble_piece(&piece, self.form)?, PIECE_BINDINGS);
        let made = program.wgsl().into_iter().map(compile).collect();
        self.save();
        made
    }

    fn compile(&self, entry_point: &str, text: String, bindings: &[Access]) -> Compiled<Pipeline> {
        let device = &self.device;
        let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(entry_point),
            source: wgpu::ShaderSource::Wgsl(text.into()),
        };
        let module = if self.checks {
            device.create_shader_module(descriptor)
        } else {
            // SAFETY: the sources are this crate's own. Each index is below a length that the host passes
            // with the buffers it made for it, loops end by counters, and the conformance suite runs the
            // same kernels with the checks on.
            unsafe {
                device.create_shader_module_trusted(
                    descriptor,
                    wgpu::ShaderRuntimeChecks::unchecked(),
                )
            }
        };
        let layout = self.layout(entry_point, bindings);
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(entry_point),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(entry_point),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some(entry_point),
            compilation_options: wgpu::PipelineCompilationOptions {
                // Kernels write workgroup memory before they read it.
                zero_initialize_workgroup_memory: self.checks,
                ..Default::default()
            },
            cache: self.kept.as_ref().map(|file| &file.cache),
        });
        match block_on(scope.pop()) {
            None => Ok(Pipeline { pipeline, layout, pace: Pace::new(self.groups_max) }),
            Some(error) => Err(format!(
                "kernel {} does not compile: {}",
                entry_point,
                one_line(&error.to_string())
            )),
        }
    }

    fn layout(&self, label: &str, bindings: &[Access]) -> wgpu::BindGroupLayout {
        let entry = |binding: usize, ty, min| wgpu::BindGroupLayoutEntry {
            binding: binding as u32,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: min },
            count: None,
        };
        let mut entries =
            vec![entry(0, wgpu::BufferBindingType::Uniform, NonZeroU64::new(PARAMS_BYTES))];
        entries.extend(bindings.iter().enumerate().map(|(i, access)| {
            let ty = wgpu::BufferBindingType::Storage { read_only: *access == Access::Read };
            entry(i + 1, ty, None)
        }));
        self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(label),
            entries: &entries,
        })
    }
}
