/** Version of the kernel, the same as of the package. */
export const KERNEL_VERSION = '0.1.0';
