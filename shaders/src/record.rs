//! Work put down step by step and queued in one go.

use std::sync::Arc;

use rollmill_algebra::Fr;
use rollmill_algebra::device::DeviceError;

use crate::gpu::{Gpu, Region};
use crate::kernel::{Kernel, PARAMS_BYTES};

/// The 64 words that a kernel is told. Word 0 is set to the number of threads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Params([u32; PARAMS_BYTES as usize / 4]);

impl Params {
    /// Word 1 and on.
    pub(crate) fn new(words: &[u32]) -> Self {
        let mut all = [0; PARAMS_BYTES as usize / 4];
        all[1..=words.len()].copy_from_slice(words);
        Self(all)
    }

    /// Puts a field element at a word.
    pub(crate) fn with_element(mut self, at: usize, value: &Fr) -> Self {
        for (i, limb) in value.0.0.iter().enumerate() {
            self.0[at + 2 * i] = *limb as u32;
            self.0[at + 2 * i + 1] = (*limb >> 32) as u32;
        }
        self
    }

    /// Puts words at a word.
    pub(crate) fn with_words(mut self, at: usize, words: &[u32]) -> Self {
        self.0[at..at + words.len()].copy_from_slice(words);
        self
    }
}

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
    pub(crate) fn run(
        &mut self,
        kernel: Kernel,
        threads: usize,
        params: Params,
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

    /// Runs `kernel` on so many workgroups, telling it `count` in the place of the number of threads.
    pub(crate) fn run_groups(
        &mut self,
        kernel: Kernel,
        count: usize,
        groups: usize,
        mut params: Params,
        regions: &[&Arc<Region>],
    ) {
        debug_assert_eq!(regions.len(), kernel.spec().bindings.len());
        if groups == 0 {
            return;
        }
        params.0[0] = count as u32;
        self.params.extend(params.0);
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
        // Frees what work that is done held, and lets a loss be known.
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
