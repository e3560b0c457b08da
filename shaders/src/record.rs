//! Records work step by step and queues it as a whole.

use std::sync::Arc;

use rollmill_algebra::device::DeviceError;

use crate::gpu::{Gpu, Region};
use crate::kernel::Kernel;
use crate::params::{PARAMS_BYTES, Params};

#[derive(Debug)]
enum Step {
    Dispatch { kernel: Kernel, regions: Vec<Arc<Region>>, groups: u32 },
    Clear(Arc<Region>),
    Copy { from: Arc<Region>, to: Arc<Region>, bytes: u64 },
}

/// Steps to be queued together. Each sees what those before it wrote.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    gpu: &'a Gpu,
    operation: &'static str,
    steps: Vec<Step>,
    /// Params of the dispatches, in their order.
    params: Vec<u32>,
}

impl<'a> Record<'a> {
    pub(crate) fn new(gpu: &'a Gpu, operation: &'static str) -> Self {
        Self { gpu, operation, steps: Vec::new(), params: Vec::new() }
    }

    /// Runs `kernel` on `threads` threads.
    pub(crate) fn run<P: Params>(
        &mut self,
        kernel: Kernel,
        threads: usize,
        params: &P,
        regions: &[&Arc<Region>],
    ) {
        self.run_groups(
            kernel,
            threads,
            threads.div_ceil(kernel.spec().workgroup as usize),
            params,
            regions,
        );
    }

    /// Runs `kernel` on `groups` workgroups and passes it `count`.
    pub(crate) fn run_groups<P: Params>(
        &mut self,
        kernel: Kernel,
        count: usize,
        groups: usize,
        params: &P,
        regions: &[&Arc<Region>],
    ) {
        let spec = kernel.spec();
        debug_assert_eq!(regions.len(), spec.bindings.len(), "bindings of {}", spec.params.entry);
        debug_assert_eq!(P::DECLARED.entry, spec.params.entry, "parameters of another kernel");
        if groups == 0 {
            return;
        }
        let mut words = params.words();
        words[0] = count as u32;
        self.params.extend(words);
        let regions = regions.iter().map(|region| Arc::clone(region)).collect();
        self.steps.push(Step::Dispatch { kernel, regions, groups: groups as u32 });
    }

    /// Fills with zeros.
    pub(crate) fn clear(&mut self, region: &Arc<Region>) {
        self.steps.push(Step::Clear(Arc::clone(region)));
    }

    pub(crate) fn copy(&mut self, from: &Arc<Region>, to: &Arc<Region>, bytes: u64) {
        self.steps.push(Step::Copy { from: Arc::clone(from), to: Arc::clone(to), bytes });
    }

    /// Queues the steps. Returns before they are done.
    pub(crate) fn submit(self) -> Result<(), DeviceError> {
        let gpu = self.gpu;
        gpu.check(self.operation)?;
        let uniform = gpu.device().create_buffer(&wgpu::BufferDescriptor {
            label: Some("params"),
            size: (4 * self.params.len() as u64).max(PARAMS_BYTES),
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        gpu.queue().write_buffer(&uniform, 0, bytemuck::cast_slice(&self.params));

        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        let mut dispatches = 0;
        let mut steps = self.steps.iter().peekable();
        while let Some(step) = steps.next() {
            match step {
                Step::Clear(region) => encoder.clear_buffer(&region.buffer, 0, Some(region.end)),
                Step::Copy { from, to, bytes } => {
                    encoder.copy_buffer_to_buffer(&from.buffer, 0, &to.buffer, 0, *bytes);
                }
                Step::Dispatch { .. } => {
                    let mut pass = encoder.begin_compute_pass(&Default::default());
                    self.dispatch(&mut pass, step, &uniform, &mut dispatches)?;
                    while let Some(step @ Step::Dispatch { .. }) = steps.peek() {
                        self.dispatch(&mut pass, step, &uniform, &mut dispatches)?;
                        steps.next();
                    }
                }
            }
        }
        gpu.queue().submit([encoder.finish()]);
        // Frees the memory of finished work, and detects a lost device.
        gpu.poll(self.operation, wgpu::PollType::Poll)
    }

    fn dispatch(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        step: &Step,
        uniform: &wgpu::Buffer,
        dispatches: &mut u64,
    ) -> Result<(), DeviceError> {
        let Step::Dispatch { kernel, regions, groups } = step else { return Ok(()) };
        let made = self.gpu.pipeline(*kernel)?;
        let params = wgpu::BufferBinding {
            buffer: uniform,
            offset: PARAMS_BYTES * *dispatches,
            size: std::num::NonZeroU64::new(PARAMS_BYTES),
        };
        *dispatches += 1;
        let mut entries = vec![wgpu::BindGroupEntry {
            binding: 0,
            resource: wgpu::BindingResource::Buffer(params),
        }];
        entries.extend(regions.iter().enumerate().map(|(i, region)| wgpu::BindGroupEntry {
            binding: i as u32 + 1,
            resource: region.buffer.as_entire_binding(),
        }));
        let group = self.gpu.device().create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &made.layout,
            entries: &entries,
        });
        let (x, y) = self.gpu.grid(*groups);
        pass.set_pipeline(&made.pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(x, y, 1);
        Ok(())
    }
}
