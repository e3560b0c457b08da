//! The kernels: where each is, what it reads and writes, and its pipeline.
//!
//! Pipelines take up to seconds to compile, so each is made when first used and kept.
#![allow(unsafe_code)]

use std::num::NonZeroU64;

use pollster::block_on;

use crate::adapter::{LimbForm, one_line};
use crate::source::assemble;

/// Bytes of a kernel's params.
pub(crate) const PARAMS_BYTES: u64 = 256;

/// What a kernel does with a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}
use Access::{Read, Write};

/// Every entry point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernel {
    ProductFr,
    ProductFq,
    SumsFr,
    SumsFq,
    Widen,
    Combine,
    Fold,
    Spread,
    Invert,
    Reorder,
    Scale,
    PassLayers,
    Across,
    Widest,
    Digits,
    Blocks,
    CarryOver,
    Accumulate,
    SumRuns,
}

/// Where a kernel is and what it needs.
#[derive(Debug)]
pub(crate) struct Spec {
    field: Option<&'static str>,
    source: &'static str,
    entry: &'static str,
    /// Threads of a workgroup.
    pub(crate) workgroup: u32,
    /// Bindings from 1 up.
    pub(crate) bindings: &'static [Access],
}

impl Kernel {
    pub(crate) const ALL: [Self; 19] = [
        Self::ProductFr,
        Self::ProductFq,
        Self::SumsFr,
        Self::SumsFq,
        Self::Widen,
        Self::Combine,
        Self::Fold,
        Self::Spread,
        Self::Invert,
        Self::Reorder,
        Self::Scale,
        Self::PassLayers,
        Self::Across,
        Self::Widest,
        Self::Digits,
        Self::Blocks,
        Self::CarryOver,
        Self::Accumulate,
        Self::SumRuns,
    ];

    pub(crate) fn spec(self) -> Spec {
        const THREE: &[Access] = &[Read, Read, Write];
        let spec = |field, source, entry, workgroup, bindings| Spec {
            field,
            source,
            entry,
            workgroup,
            bindings,
        };
        let vector = |entry, bindings| spec(None, "vector", entry, 64, bindings);
        match self {
            Self::ProductFr => spec(Some("fr"), "product", "product", 64, THREE),
            Self::ProductFq => spec(Some("fq"), "product", "product", 64, THREE),
            Self::SumsFr => spec(Some("fr"), "product", "sums", 64, THREE),
            Self::SumsFq => spec(Some("fq"), "product", "sums", 64, THREE),
            Self::Widen => vector("widen", &[Write, Read]),
            Self::Combine => vector("combine", &[Write, Read, Read, Read, Read]),
            Self::Fold => vector("fold", &[Write, Read]),
            Self::Spread => vector("spread", &[Write, Read, Read]),
            Self::Invert => vector("invert", &[Write, Read]),
            Self::Reorder => spec(None, "ntt", "reorder", 64, &[Write, Read, Read]),
            Self::Scale => spec(None, "ntt", "scale", 64, &[Write, Read]),
            Self::PassLayers => spec(None, "ntt", "pass_layers", 128, &[Write, Read]),
            Self::Across => spec(None, "ntt", "across", 64, &[Write, Read, Read, Write]),
            Self::Widest => spec(None, "msm_digits", "widest", 64, &[Read, Read, Write]),
            Self::Digits => spec(None, "msm_digits", "digits", 64, &[Read, Read, Write, Write]),
            Self::Blocks => spec(None, "msm_places", "blocks", 256, &[Read, Write, Write]),
            Self::CarryOver => spec(None, "msm_places", "carry_over", 256, &[Read, Write]),
            Self::Accumulate => {
                spec(None, "msm_buckets", "accumulate", 64, &[Read, Read, Read, Read, Write])
            }
            Self::SumRuns => {
                spec(None, "msm_sums", "sum_runs", 64, &[Read, Read, Read, Write, Write])
            }
        }
    }
}

/// A kernel made ready for a device.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) pipeline: wgpu::ComputePipeline,
    pub(crate) layout: wgpu::BindGroupLayout,
}

/// Compiles a kernel; the error is the compiler's, on one line.
pub(crate) fn compile(
    device: &wgpu::Device,
    kernel: Kernel,
    form: LimbForm,
    checks: bool,
) -> Result<Pipeline, String> {
    let spec = kernel.spec();
    let imports: Vec<&str> = spec.field.into_iter().collect();
    let text = assemble(&imports, spec.source, form, spec.workgroup)?;
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let descriptor = wgpu::ShaderModuleDescriptor {
        label: Some(spec.entry),
        source: wgpu::ShaderSource::Wgsl(text.into()),
    };
    let module = if checks {
        device.create_shader_module(descriptor)
    } else {
        // SAFETY: the sources are this crate's own. Each index is below a length that the host passes
        // with the buffers it made for it, loops end by counters, and the conformance suite runs the
        // same kernels with the checks on.
        unsafe {
            device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
        }
    };
    let entry = |binding: usize, ty, min| wgpu::BindGroupLayoutEntry {
        binding: binding as u32,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: min },
        count: None,
    };
    let mut entries =
        vec![entry(0, wgpu::BufferBindingType::Uniform, NonZeroU64::new(PARAMS_BYTES))];
    entries.extend(spec.bindings.iter().enumerate().map(|(i, access)| {
        let ty = wgpu::BufferBindingType::Storage { read_only: *access == Access::Read };
        entry(i + 1, ty, None)
    }));
    let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some(spec.entry),
        entries: &entries,
    });
    let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(spec.entry),
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(spec.entry),
        layout: Some(&pipeline_layout),
        module: &module,
        entry_point: Some(spec.entry),
        compilation_options: wgpu::PipelineCompilationOptions {
            // Kernels write workgroup memory before they read it.
            zero_initialize_workgroup_memory: checks,
            ..Default::default()
        },
        cache: None,
    });
    match block_on(scope.pop()) {
        None => Ok(Pipeline { pipeline, layout }),
        Some(error) => {
            Err(format!("kernel {} does not compile: {}", spec.entry, one_line(&error.to_string())))
        }
    }
}
