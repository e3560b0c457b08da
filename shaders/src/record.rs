//! Records work step by step and queues it as a whole.

use std::sync::Arc;
use std::time::Duration;

use rollmill_algebra::device::DeviceError;

use crate::adapter::Rows;
use crate::gpu::{ELEMENT_BYTES, Gpu, Region};
use crate::kernel::{Kernel, PIECE_WORKGROUP, Pipeline};
use crate::params::{self, FIRST_GROUP, PARAMS_BYTES, PARAMS_WORDS, Params};
use crate::program::Program;

/// Thousandths of the longest dispatches that are submitted together. Some drivers bound the time of a submission and
/// not only that of a dispatch: this much takes up to 1 s.
const LOAD_MAX: u32 = 10_000;

#[derive(Debug)]
enum Step {
    Launch(Box<Launch>),
    Clear(Arc<Region>),
    Copy(Transfer),
}

/// Bytes to copy, from a place in one region to a place in another.
#[derive(Debug)]
struct Transfer {
    from: Arc<Region>,
    from_at: u64,
    to: Arc<Region>,
    to_at: u64,
    bytes: u64,
}

/// What a launch runs.
#[derive(Debug)]
enum Code {
    Kernel(Kernel),
    /// The interpreter, on one program.
    Interpreted(Arc<Program>),
    /// A piece of a program.
    Piece(Arc<Program>, usize),
}

#[derive(Debug)]
struct Launch {
    code: Code,
    regions: Vec<Arc<Region>>,
    groups: u32,
    params: [u32; PARAMS_WORDS],
}

/// Steps to be queued together. Each sees what those before it wrote.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    gpu: &'a Gpu,
    operation: &'static str,
    steps: Vec<Step>,
}

/// Work of one submission.
#[derive(Debug, Default)]
struct Batch<'s> {
    work: Vec<Work<'s>>,
    /// Params of the dispatches, in their order.
    params: Vec<u32>,
    load: u32,
}

#[derive(Debug)]
enum Work<'s> {
    Dispatch(Dispatch<'s>),
    Clear(&'s Region),
    Copy(&'s Transfer),
}

/// A part of a launch, or the whole of it.
#[derive(Debug)]
struct Dispatch<'s> {
    made: &'s Pipeline,
    regions: &'s [Arc<Region>],
    groups: u32,
}

impl<'s> Batch<'s> {
    /// Adds `groups` workgroups of a launch, from number `first` on.
    fn add(&mut self, launch: &'s Launch, made: &'s Pipeline, first: u32, groups: u32) {
        let mut params = launch.params;
        params[FIRST_GROUP] = first;
        self.params.extend(params);
        self.work.push(Work::Dispatch(Dispatch { made, regions: &launch.regions, groups }));
    }
}

impl<'a> Record<'a> {
    pub(crate) fn new(gpu: &'a Gpu, operation: &'static str) -> Self {
        Self { gpu, operation, steps: Vec::new() }
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
        self.launch(Code::Kernel(kernel), [count, groups], params, regions);
    }

    /// Runs a row program on `count` rows: by the interpreter, or its pieces one after another.
    pub(crate) fn run_program(
        &mut self,
        program: &Arc<Program>,
        rows: Rows,
        count: usize,
        params: &params::RowProgram,
        [out, registers, cells, constants, code]: [&Arc<Region>; 5],
    ) -> Result<(), DeviceError> {
        let regions = [out, registers, cells, constants];
        let groups = count.div_ceil(PIECE_WORKGROUP as usize);
        if rows == Rows::Generated {
            for piece in 0..self.gpu.pieces(program)?.len() {
                let code = Code::Piece(Arc::clone(program), piece);
                self.launch(code, [count, groups], params, &regions);
            }
        } else {
            let regions = [out, registers, cells, constants, code];
            let code = Code::Interpreted(Arc::clone(program));
            self.launch(code, [count, groups], params, &regions);
        }
        Ok(())
    }

    fn launch<P: Params>(
        &mut self,
        code: Code,
        [count, groups]: [usize; 2],
        params: &P,
        regions: &[&Arc<Region>],
    ) {
        let mut params = params.words();
        params[0] = count as u32;
        let regions = regions.iter().map(|region| Arc::clone(region)).collect();
        let launch = Launch { code, regions, groups: groups as u32, params };
        self.steps.push(Step::Launch(Box::new(launch)));
    }

    /// Fills with zeros.
    pub(crate) fn clear(&mut self, region: &Arc<Region>) {
        self.steps.push(Step::Clear(Arc::clone(region)));
    }

    pub(crate) fn copy(&mut self, from: &Arc<Region>, to: &Arc<Region>, bytes: u64) {
        let (from, to) = (Arc::clone(from), Arc::clone(to));
        self.steps.push(Step::Copy(Transfer { from, from_at: 0, to, to_at: 0, bytes }));
    }

    /// Copies field elements between two regions, each with the number of its first element.
    pub(crate) fn copy_elements(
        &mut self,
        (from, from_at): (&Arc<Region>, usize),
        (to, to_at): (&Arc<Region>, usize),
        count: usize,
    ) {
        let [from_at, to_at, bytes] = [from_at, to_at, count].map(|n| ELEMENT_BYTES * n as u64);
        let (from, to) = (Arc::clone(from), Arc::clone(to));
        self.steps.push(Step::Copy(Transfer { from, from_at, to, to_at, bytes }));
    }

    /// Queues the steps. Returns before they are done, except where it times a dispatch.
    pub(crate) fn submit(self) -> Result<(), DeviceError> {
        self.gpu.check(self.operation)?;
        let mut batch = Batch::default();
        for step in &self.steps {
            match step {
                Step::Launch(launch) => self.cut(&mut batch, launch)?,
                Step::Clear(region) => batch.work.push(Work::Clear(region)),
                Step::Copy(copy) => batch.work.push(Work::Copy(copy)),
            }
        }
        self.flush(&mut batch)?;
        // Frees the memory of finished work, and detects a lost device.
        self.gpu.poll(self.operation, wgpu::PollType::Poll)
    }

    /// Cuts a launch into dispatches, as long as its kernel's may be.
    fn cut<'s>(&'s self, batch: &mut Batch<'s>, launch: &'s Launch) -> Result<(), DeviceError> {
        let gpu = self.gpu;
        let (made, pace) = match &launch.code {
            Code::Kernel(kernel) => {
                let made = gpu.pipeline(*kernel)?;
                (made, &made.pace)
            }
            Code::Interpreted(program) => (gpu.pipeline(Kernel::RowProgram)?, &program.pace),
            Code::Piece(program, piece) => {
                let made = &gpu.pieces(program)?[*piece];
                (made, &made.pace)
            }
        };
        let mut first = 0;
        while first < launch.groups {
            let part = pace.next(launch.groups - first);
            if part.timed {
                self.flush(batch)?;
                batch.add(launch, made, first, part.groups);
                pace.took(part.groups, self.timed(batch)?);
            } else {
                batch.add(launch, made, first, part.groups);
                batch.load += part.load;
                if batch.load > LOAD_MAX {
                    self.flush(batch)?;
                }
            }
            first += part.groups;
        }
        Ok(())
    }

    /// Queues what the batch contains.
    fn flush(&self, batch: &mut Batch<'_>) -> Result<(), DeviceError> {
        let batch = std::mem::take(batch);
        if batch.work.is_empty() {
            return Ok(());
        }
        let _shared = self.gpu.submissions.read();
        self.queue(&batch)
    }

    /// Runs what the batch contains, and nothing beside it. Returns the time it took.
    fn timed(&self, batch: &mut Batch<'_>) -> Result<Duration, DeviceError> {
        let batch = std::mem::take(batch);
        let gpu = self.gpu;
        let _alone = gpu.submissions.write();
        gpu.poll(self.operation, wgpu::PollType::wait_indefinitely())?;
        let start = gpu.clock.now();
        self.queue(&batch)?;
        gpu.poll(self.operation, wgpu::PollType::wait_indefinitely())?;
        Ok(gpu.clock.now().saturating_sub(start))
    }

    fn queue(&self, batch: &Batch<'_>) -> Result<(), DeviceError> {
        let gpu = self.gpu;
        gpu.check(self.operation)?;
        let uniform = gpu.device().create_buffer(&wgpu::BufferDescriptor {
            label: Some("params"),
            size: (4 * batch.params.len() as u64).max(PARAMS_BYTES),
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        gpu.queue().write_buffer(&uniform, 0, bytemuck::cast_slice(&batch.params));

        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        let mut dispatches = 0;
        let mut work = batch.work.iter().peekable();
        while let Some(item) = work.next() {
            match item {
                Work::Clear(region) => encoder.clear_buffer(&region.buffer, 0, Some(region.end)),
                Work::Copy(Transfer { from, from_at, to, to_at, bytes }) => encoder
                    .copy_buffer_to_buffer(&from.buffer, *from_at, &to.buffer, *to_at, *bytes),
                Work::Dispatch(dispatch) => {
                    let mut pass = encoder.begin_compute_pass(&Default::default());
                    self.dispatch(&mut pass, dispatch, &uniform, &mut dispatches);
                    while let Some(Work::Dispatch(dispatch)) = work.peek() {
                        self.dispatch(&mut pass, dispatch, &uniform, &mut dispatches);
                        work.next();
                    }
                }
            }
        }
        gpu.queue().submit([encoder.finish()]);
        gpu.check(self.operation)
    }

    fn dispatch(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        dispatch: &Dispatch<'_>,
        uniform: &wgpu::Buffer,
        dispatches: &mut u64,
    ) {
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
        entries.extend(dispatch.regions.iter().enumerate().map(|(i, region)| {
            wgpu::BindGroupEntry {
                binding: i as u32 + 1,
                resource: region.buffer.as_entire_binding(),
            }
        }));
        let group = self.gpu.device().create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &dispatch.made.layout,
            entries: &entries,
        });
        pass.set_pipeline(&dispatch.made.pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(dispatch.groups, 1, 1);
    }
}
