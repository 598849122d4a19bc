/* The signal families: signals of many parameter sets and their pullbacks
 * (vector-Jacobian products), the device text of the Rust module `family`.
 *
 *   isotropic   E = v_s
 *   quadratic   E = exp(-a_s - c_s t^2),  t = g_i . mu
 *   tensor      E = exp(-B_i : D)
 *
 * Slots are the measurements sorted by shell, in whole blocks of LANES slots;
 * padding has direction and weighting zero. `shell_of` holds the shell of every
 * slot, `shell_slots` [shells, 2] the first slot of every shell and the slot
 * after its last. Arrays are row-major; [set, shell] means
 * index set * shells + shell. Signals of padded slots are written but mean
 * nothing; weights of padded slots must be zero.
 *
 * A pullback takes weights w_i = dL/dE_i and gathers: one work item owns every
 * number that it writes, no atomics, and adds in the order of the Rust loops
 * (LANES running sums, then a tree). Results do not depend on the grid.
 *
 * Validated by tests/text_parity.rs.
 */

#define LANES 8u

/* Sizes of a batch; the same for every kernel of this text. */
typedef struct {
    U32 sets;   /* parameter sets */
    U32 shells; /* shells of the acquisition */
    U32 slots;  /* slots of the acquisition, a multiple of LANES */
} SignalArguments;

STATIC_ASSERT(SignalArguments_size, sizeof(SignalArguments) == 12);
STATIC_ASSERT(SignalArguments_sets, OFFSET_OF(SignalArguments, sets) == 0);
STATIC_ASSERT(SignalArguments_shells, OFFSET_OF(SignalArguments, shells) == 4);
STATIC_ASSERT(SignalArguments_slots, OFFSET_OF(SignalArguments, slots) == 8);

/* The sum of LANES numbers by the fixed tree of the Rust loops. */
DEVICE_FN REAL tree_sum(THREAD const REAL *v)
{
    REAL q0 = v[0] + v[4], q1 = v[1] + v[5], q2 = v[2] + v[6], q3 = v[3] + v[7];
    return (q0 + q2) + (q1 + q3);
}

/* t = g . mu of one slot; `direction` is [3, slot]. */
DEVICE_FN REAL axis_projection(GLOBAL const REAL *direction, U32 slots, U32 slot, REAL x, REAL y, REAL z)
{
    return FMA(direction[2u * slots + slot], z, FMA(direction[slots + slot], y, direction[slot] * x));
}

/* B : D of one slot; `weighting` is [6, slot], `d` is (xx, yy, zz, xy, xz, yz). */
DEVICE_FN REAL contraction(GLOBAL const REAL *weighting, U32 slots, U32 slot, GLOBAL const REAL *d)
{
    REAL sum = weighting[slot] * d[0];
    for (U32 k = 1u; k < 6u; k++)
        sum = FMA(weighting[k * slots + slot], d[k], sum);
    return sum;
}

/* value [set, shell] -> signal [set, slot]; items: (set, slot). */
KERNEL(isotropic_signal,
       ARGUMENTS(SignalArguments, p),
       INPUT(REAL, value, 1),
       INPUT(U32, shell_of, 2),
       OUTPUT(REAL, signal, 3))
{
    FOR_ITEMS(item, p.sets * p.slots) {
        U32 set = item / p.slots, slot = item % p.slots;
        signal[item] = value[set * p.shells + shell_of[slot]];
    }
}

/* weight [set, slot] -> dL/dv [set, shell]; items: (set, shell). */
KERNEL(isotropic_pullback,
       ARGUMENTS(SignalArguments, p),
       INPUT(REAL, weight, 1),
       INPUT(U32, shell_slots, 2),
       OUTPUT(REAL, sums, 3))
{
    FOR_ITEMS(item, p.sets * p.shells) {
        U32 set = item / p.shells, shell = item % p.shells;
        REAL total[LANES];
        for (U32 lane = 0u; lane < LANES; lane++)
            total[lane] = R(0.0);
        for (U32 slot = shell_slots[2u * shell]; slot < shell_slots[2u * shell + 1u]; slot++)
            total[slot % LANES] += weight[set * p.slots + slot];
        sums[item] = tree_sum(total);
    }
}

/* a, c [set, shell], mu [set, 3] -> signal [set, slot]; items: (set, slot). */
KERNEL(quadratic_signal,
       ARGUMENTS(SignalArguments, p),
       INPUT(REAL, a, 1),
       INPUT(REAL, c, 2),
       INPUT(REAL, mu, 3),
       INPUT(REAL, direction, 4),
       INPUT(U32, shell_of, 5),
       OUTPUT(REAL, signal, 6))
{
    FOR_ITEMS(item, p.sets * p.slots) {
        U32 set = item / p.slots, slot = item % p.slots;
        U32 shell = set * p.shells + shell_of[slot];
        REAL t = axis_projection(direction, p.slots, slot, mu[3u * set], mu[3u * set + 1u], mu[3u * set + 2u]);
        signal[item] = EXP(-FMA(c[shell] * t, t, a[shell]));
    }
}

/* weight [set, slot] -> the sums of every shell; items: (set, shell).
 *
 *   sums [set, 2, shell]       sum w E  and  sum w E t^2,
 *                              dL/da = -sum w E,  dL/dc = -sum w E t^2
 *   axis_part [set, shell, 3]  sum c w E t g, input of quadratic_axis */
KERNEL(quadratic_pullback,
       ARGUMENTS(SignalArguments, p),
       INPUT(REAL, a, 1),
       INPUT(REAL, c, 2),
       INPUT(REAL, mu, 3),
       INPUT(REAL, direction, 4),
       INPUT(REAL, weight, 5),
       INPUT(U32, shell_slots, 6),
       OUTPUT(REAL, sums, 7),
       OUTPUT(REAL, axis_part, 8))
{
    FOR_ITEMS(item, p.sets * p.shells) {
        U32 set = item / p.shells, shell = item % p.shells;
        REAL x = mu[3u * set], y = mu[3u * set + 1u], z = mu[3u * set + 2u];
        REAL zeroth[LANES], second[LANES], along_x[LANES], along_y[LANES], along_z[LANES];
        for (U32 lane = 0u; lane < LANES; lane++) {
            zeroth[lane] = R(0.0);
            second[lane] = R(0.0);
            along_x[lane] = R(0.0);
            along_y[lane] = R(0.0);
            along_z[lane] = R(0.0);
        }
        for (U32 slot = shell_slots[2u * shell]; slot < shell_slots[2u * shell + 1u]; slot++) {
            U32 lane = slot % LANES;
            REAL t = axis_projection(direction, p.slots, slot, x, y, z);
            REAL we = weight[set * p.slots + slot] * EXP(-FMA(c[item] * t, t, a[item]));
            REAL wet = we * t;
            REAL cwet = c[item] * wet;
            zeroth[lane] += we;
            second[lane] = FMA(wet, t, second[lane]);
            along_x[lane] = FMA(cwet, direction[slot], along_x[lane]);
            along_y[lane] = FMA(cwet, direction[p.slots + slot], along_y[lane]);
            along_z[lane] = FMA(cwet, direction[2u * p.slots + slot], along_z[lane]);
        }
        sums[2u * set * p.shells + shell] = tree_sum(zeroth);
        sums[(2u * set + 1u) * p.shells + shell] = tree_sum(second);
        axis_part[3u * item] = tree_sum(along_x);
        axis_part[3u * item + 1u] = tree_sum(along_y);
        axis_part[3u * item + 2u] = tree_sum(along_z);
    }
}

/* axis_part [set, shell, 3] -> dL/dmu [set, 3] = -2 sum over the shells; items: set. */
KERNEL(quadratic_axis,
       ARGUMENTS(SignalArguments, p),
       INPUT(REAL, axis_part, 1),
       OUTPUT(REAL, axis, 2))
{
    FOR_ITEMS(set, p.sets) {
        for (U32 k = 0u; k < 3u; k++) {
            REAL sum = R(0.0);
            for (U32 shell = 0u; shell < p.shells; shell++)
                sum += axis_part[3u * (set * p.shells + shell) + k];
            axis[3u * set + k] = R(-2.0) * sum;
        }
    }
}

/* d [set, 6] -> signal [set, slot]; items: (set, slot). */
KERNEL(tensor_signal,
       ARGUMENTS(SignalArguments, p),
       INPUT(REAL, d, 1),
       INPUT(REAL, weighting, 2),
       OUTPUT(REAL, signal, 3))
{
    FOR_ITEMS(item, p.sets * p.slots) {
        U32 set = item / p.slots, slot = item % p.slots;
        signal[item] = EXP(-contraction(weighting, p.slots, slot, d + 6u * set));
    }
}

/* weight [set, slot] -> sums [set, 7] = (sum w E, dL/dD = -sum w E B); items: set. */
KERNEL(tensor_pullback,
       ARGUMENTS(SignalArguments, p),
       INPUT(REAL, d, 1),
       INPUT(REAL, weighting, 2),
       INPUT(REAL, weight, 3),
       OUTPUT(REAL, sums, 4))
{
    FOR_ITEMS(set, p.sets) {
        REAL zeroth[LANES], first[6][LANES];
        for (U32 lane = 0u; lane < LANES; lane++) {
            zeroth[lane] = R(0.0);
            for (U32 k = 0u; k < 6u; k++)
                first[k][lane] = R(0.0);
        }
        for (U32 block = 0u; block < p.slots / LANES; block++)
            for (U32 lane = 0u; lane < LANES; lane++) {
                U32 slot = block * LANES + lane;
                REAL we = weight[set * p.slots + slot] * EXP(-contraction(weighting, p.slots, slot, d + 6u * set));
                zeroth[lane] += we;
                for (U32 k = 0u; k < 6u; k++)
                    first[k][lane] = FMA(we, weighting[k * p.slots + slot], first[k][lane]);
            }
        sums[7u * set] = tree_sum(zeroth);
        for (U32 k = 0u; k < 6u; k++)
            sums[7u * set + 1u + k] = -tree_sum(first[k]);
    }
}
