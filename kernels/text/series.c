/* Signals that are series of polynomials in the cosine to an axis, of many
 * parameter sets, and their pullbacks (vector-Jacobian products): the device text
 * of the Rust module `family::zonal`.
 *
 *   zonal   E = sum_k c_sk P_2k(t),  t = g_i . mu
 *
 * Slots, `shell_of`, `shell_slots` and the layout of arrays are those of signal.c.
 * Signals of padded slots are written but mean nothing; weights of padded slots
 * must be zero. `terms` [set, shell] is how many coefficients of a row are in use;
 * what stands behind them is never read.
 *
 * The polynomials come from Bonnet's recurrence in t (NIST DLMF 14.10.3) in the form
 *   P_n+1 = t P_n + n / (n + 1) (t P_n - P_n-1),
 * where the bracket, small at t = 1, is rounded once; slopes from
 *   P'_n+1 = P'_n-1 + (2 n + 1) P_n,
 * which only adds. So single precision loses little more than the rounding of t.
 *
 * A pullback takes weights w_i = dL/dE_i and gathers: one work item owns every
 * number that it writes, no atomics, in LANES running sums, then a tree. Results do
 * not depend on the grid.
 *
 * Validated by tests/text_parity.rs.
 */

#define LANES 8u

/* Sizes of a batch; the same for every kernel of this text. */
typedef struct {
    U32 sets;   /* parameter sets */
    U32 shells; /* shells of the acquisition */
    U32 slots;  /* slots of the acquisition, a multiple of LANES */
    U32 stride; /* coefficients in a row */
} SeriesArguments;

STATIC_ASSERT(SeriesArguments_size, sizeof(SeriesArguments) == 16);
STATIC_ASSERT(SeriesArguments_sets, OFFSET_OF(SeriesArguments, sets) == 0);
STATIC_ASSERT(SeriesArguments_shells, OFFSET_OF(SeriesArguments, shells) == 4);
STATIC_ASSERT(SeriesArguments_slots, OFFSET_OF(SeriesArguments, slots) == 8);
STATIC_ASSERT(SeriesArguments_stride, OFFSET_OF(SeriesArguments, stride) == 12);

/* The sum of LANES numbers by the fixed tree of the Rust loops. */
DEVICE_FN REAL tree_sum(THREAD const REAL *v)
{
    REAL q0 = v[0] + v[4], q1 = v[1] + v[5], q2 = v[2] + v[6], q3 = v[3] + v[7];
    return (q0 + q2) + (q1 + q3);
}

/* g . m of one slot; `direction` is [3, slot], `m` an axis [3]. */
DEVICE_FN REAL cosine(GLOBAL const REAL *direction, U32 slots, U32 slot, GLOBAL const REAL *m)
{
    return FMA(direction[2u * slots + slot], m[2], FMA(direction[slots + slot], m[1], direction[slot] * m[0]));
}

/* P_n+1(t) from P_n and P_n-1. */
DEVICE_FN REAL next_polynomial(U32 n, REAL t, REAL now, REAL last)
{
    return FMA((REAL)n / (REAL)(n + 1u), FMA(t, now, -last), t * now);
}

/* P_2k(t). */
DEVICE_FN REAL zonal_polynomial(U32 k, REAL t)
{
    REAL now = R(1.0), last = R(0.0);
    for (U32 n = 0u; n < 2u * k; n++) {
        REAL next = next_polynomial(n, t, now, last);
        last = now;
        now = next;
    }
    return now;
}

/* sum_k c_k P_2k(t) of one row. */
DEVICE_FN REAL zonal_value(GLOBAL const REAL *c, U32 terms, REAL t)
{
    REAL now = R(1.0), last = R(0.0), sum = R(0.0);
    for (U32 k = 0u; k < terms; k++) {
        REAL odd = next_polynomial(2u * k, t, now, last);
        sum = FMA(c[k], now, sum);
        now = next_polynomial(2u * k + 1u, t, odd, now);
        last = odd;
    }
    return sum;
}

/* d/dt sum_k c_k P_2k(t) of one row. */
DEVICE_FN REAL zonal_slope(GLOBAL const REAL *c, U32 terms, REAL t)
{
    REAL now = R(1.0), last = R(0.0), slope = R(0.0), sum = R(0.0);
    for (U32 k = 0u; k < terms; k++) {
        REAL odd = next_polynomial(2u * k, t, now, last);
        sum = FMA(c[k], slope, sum);
        slope = FMA((REAL)(4u * k + 3u), odd, slope);
        now = next_polynomial(2u * k + 1u, t, odd, now);
        last = odd;
    }
    return sum;
}

/* c [set, shell, stride], mu [set, 3] -> signal [set, slot]; items: (set, slot). */
KERNEL(zonal_signal,
       ARGUMENTS(SeriesArguments, p),
       INPUT(REAL, c, 1),
       INPUT(U32, terms, 2),
       INPUT(REAL, mu, 3),
       INPUT(REAL, direction, 4),
       INPUT(U32, shell_of, 5),
       OUTPUT(REAL, signal, 6))
{
    FOR_ITEMS(item, p.sets * p.slots) {
        U32 set = item / p.slots, slot = item % p.slots;
        U32 shell = set * p.shells + shell_of[slot];
        REAL t = cosine(direction, p.slots, slot, mu + 3u * set);
        signal[item] = zonal_value(c + p.stride * shell, terms[shell], t);
    }
}

/* weight [set, slot] -> dL/dc [set, shell, stride] = sum w P_2k, zero beyond the
 * terms; items: (set, shell, k). */
KERNEL(zonal_pullback,
       ARGUMENTS(SeriesArguments, p),
       INPUT(U32, terms, 1),
       INPUT(REAL, mu, 2),
       INPUT(REAL, direction, 3),
       INPUT(REAL, weight, 4),
       INPUT(U32, shell_slots, 5),
       OUTPUT(REAL, moments, 6))
{
    FOR_ITEMS(item, p.sets * p.shells * p.stride) {
        U32 row = item / p.stride, k = item % p.stride;
        U32 set = row / p.shells, shell = row % p.shells;
        REAL total[LANES];
        for (U32 lane = 0u; lane < LANES; lane++)
            total[lane] = R(0.0);
        U32 end = k < terms[row] ? shell_slots[2u * shell + 1u] : 0u;
        for (U32 slot = shell_slots[2u * shell]; slot < end; slot++) {
            REAL t = cosine(direction, p.slots, slot, mu + 3u * set);
            total[slot % LANES] = FMA(weight[set * p.slots + slot], zonal_polynomial(k, t), total[slot % LANES]);
        }
        moments[item] = tree_sum(total);
    }
}

/* weight [set, slot] -> dL/dmu [set, 3] = sum w dE/dt g; items: set. */
KERNEL(zonal_axis,
       ARGUMENTS(SeriesArguments, p),
       INPUT(REAL, c, 1),
       INPUT(U32, terms, 2),
       INPUT(REAL, mu, 3),
       INPUT(REAL, direction, 4),
       INPUT(REAL, weight, 5),
       INPUT(U32, shell_of, 6),
       OUTPUT(REAL, axis, 7))
{
    FOR_ITEMS(set, p.sets) {
        REAL total[3][LANES];
        for (U32 lane = 0u; lane < LANES; lane++)
            for (U32 i = 0u; i < 3u; i++)
                total[i][lane] = R(0.0);
        for (U32 slot = 0u; slot < p.slots; slot++) {
            U32 shell = set * p.shells + shell_of[slot], lane = slot % LANES;
            REAL t = cosine(direction, p.slots, slot, mu + 3u * set);
            REAL slope = zonal_slope(c + p.stride * shell, terms[shell], t) * weight[set * p.slots + slot];
            for (U32 i = 0u; i < 3u; i++)
                total[i][lane] = FMA(slope, direction[i * p.slots + slot], total[i][lane]);
        }
        for (U32 i = 0u; i < 3u; i++)
            axis[3u * set + i] = tree_sum(total[i]);
    }
}
