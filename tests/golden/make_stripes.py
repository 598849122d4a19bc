"""Numbers in the tests of kernels/src/sinogram/{wavelet,damping}.rs.

Needs numpy and PyWavelets; prints what the tests hold.
"""

import numpy as np
import pywt


def damped(image, levels, sigma):
    """Münch et al. 2009, with exp(-k^2 / 2 sigma^2) at k = 0 exactly 1."""
    stack = []
    for _ in range(levels):
        shape = image.shape
        image, (across, stripes, both) = pywt.dwt2(image, "db5")
        n = stripes.shape[0]
        k = np.minimum(np.arange(n), n - np.arange(n))
        factor = -np.expm1(-(k**2) / (2 * sigma**2))
        stripes = np.fft.ifft(np.fft.fft(stripes, axis=0) * factor[:, None], axis=0).real
        stack.append((shape, across, stripes, both))
    for shape, across, stripes, both in stack[::-1]:
        image = image[: across.shape[0], : across.shape[1]]
        image = pywt.idwt2((image, (across, stripes, both)), "db5")[: shape[0], : shape[1]]
    return image


print(pywt.dwt([k * k for k in range(7)], "db5"))
stripes = np.tile((np.arange(64) % 13 == 5) * 1.0, (60, 1))
left = damped(stripes, 4, 2.0)
print(((left - left.mean()) ** 2).sum() / (stripes**2).sum())
k = np.arange(12 * 15)
print([float(v) for v in damped(((k * k + 5 * k) % 31).reshape(12, 15) * 1.0, 2, 1.5)[3]])
