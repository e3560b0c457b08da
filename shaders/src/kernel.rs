//! The kernels: source, bindings and pipeline of each.
//!
//! A pipeline takes up to seconds to compile, so each is compiled at its first use and kept.
#![allow(unsafe_code)]

use std::num::NonZeroU64;

use pollster::block_on;

use crate::adapter::{LimbForm, one_line};
use crate::params::{self, Declared, PARAMS_BYTES, Params};
use crate::source::assemble;

/// How a kernel uses a binding.
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
        match self {
            Self::ProductFr => spec::<params::Product>(Some("fr"), "product", 64, THREE),
            Self::ProductFq => spec::<params::Product>(Some("fq"), "product", 64, THREE),
            Self::SumsFr => spec::<params::Sums>(Some("fr"), "product", 64, THREE),
            Self::SumsFq => spec::<params::Sums>(Some("fq"), "product", 64, THREE),
            Self::Widen => spec::<params::Widen>(None, "vector", 64, &[Write, Read]),
            Self::Combine => {
                spec::<params::Combine>(None, "vector", 64, &[Write, Read, Read, Read, Read])
            }
            Self::Fold => spec::<params::Fold>(None, "vector", 64, &[Write, Read]),
            Self::Spread => spec::<params::Spread>(None, "vector", 64, &[Write, Read, Read]),
            Self::Invert => spec::<params::Invert>(None, "vector", 64, &[Write, Read]),
            Self::Reorder => spec::<params::Reorder>(None, "ntt", 64, &[Write, Read, Read]),
            Self::Scale => spec::<params::Scale>(None, "ntt", 64, &[Write, Read]),
            Self::PassLayers => spec::<params::PassLayers>(None, "ntt", 128, &[Write, Read]),
            Self::Across => spec::<params::Across>(None, "ntt", 64, &[Write, Read, Read, Write]),
            Self::Widest => spec::<params::Widest>(None, "msm_digits", 64, THREE),
            Self::Digits => {
                spec::<params::Digits>(None, "msm_digits", 64, &[Read, Read, Write, Write])
            }
            Self::Blocks => spec::<params::Blocks>(None, "msm_places", 256, &[Read, Write, Write]),
            Self::CarryOver => spec::<params::CarryOver>(None, "msm_places", 256, &[Read, Write]),
            Self::Accumulate => spec::<params::Accumulate>(
                None,
                "msm_buckets",
                64,
                &[Read, Read, Read, Read, Write],
            ),
            Self::SumRuns => {
                spec::<params::SumRuns>(None, "msm_sums", 64, &[Read, Read, Read, Write, Write])
            }
        }
    }
}

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
}

/// Compiles a kernel; the error is the compiler's, on one line.
pub(crate) fn compile(
    device: &wgpu::Device,
    kernel: Kernel,
    form: LimbForm,
    checks: bool,
) -> Result<Pipeline, String> {
    let spec = kernel.spec();
    let entry_point = spec.params.entry;
    let text = assemble(&spec, form)?;
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let descriptor = wgpu::ShaderModuleDescriptor {
        label: Some(entry_point),
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
        label: Some(entry_point),
        entries: &entries,
    });
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
            zero_initialize_workgroup_memory: checks,
            ..Default::default()
        },
        cache: None,
    });
    match block_on(scope.pop()) {
        None => Ok(Pipeline { pipeline, layout }),
        Some(error) => Err(format!(
            "kernel {} does not compile: {}",
            entry_point,
            one_line(&error.to_string())
        )),
    }
}
