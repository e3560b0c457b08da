//! What wgpu has no safe function for: the memory that an adapter has, and compiled pipelines from bytes.
#![allow(unsafe_code)]

use pollster::block_on;

use crate::adapter::one_line;

/// Bytes of the largest heap of an adapter's own memory, if Vulkan knows it. On integrated graphics it is a part of the
/// machine's.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "windows"))]
pub(crate) fn own_memory_bytes(adapter: &wgpu::Adapter) -> Option<u64> {
    /// `VK_MEMORY_HEAP_DEVICE_LOCAL_BIT`.
    const DEVICE_LOCAL: u32 = 1;
    // SAFETY: nothing is destroyed or changed through the raw handles.
    let native = unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }?;
    let instance = native.shared_instance().raw_instance();
    // SAFETY: the physical device is one of this instance, and both live as long as `adapter`.
    let properties =
        unsafe { instance.get_physical_device_memory_properties(native.raw_physical_device()) };
    let heaps = properties.memory_heaps.iter().take(properties.memory_heap_count as usize);
    heaps.filter(|heap| heap.flags.as_raw() & DEVICE_LOCAL != 0).map(|heap| heap.size).max()
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "windows")))]
pub(crate) fn own_memory_bytes(_: &wgpu::Adapter) -> Option<u64> {
    None
}

/// A cache of pipelines with what an earlier one contained, as the caller's file has it; or why the driver does not
/// take that.
pub(crate) fn pipeline_cache(
    device: &wgpu::Device,
    data: Option<&[u8]>,
) -> (Option<wgpu::PipelineCache>, Option<String>) {
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let descriptor =
        wgpu::PipelineCacheDescriptor { label: Some("pipelines"), data, fallback: true };
    // SAFETY: `data` is what another cache returned: the caller compares its digest with the one that was written
    // beside it. Both lie in a directory of this user, who can run anything here.
    let cache = unsafe { device.create_pipeline_cache(&descriptor) };
    match block_on(scope.pop()) {
        None => (Some(cache), None),
        Some(error) => (None, Some(one_line(&error.to_string()))),
    }
}
