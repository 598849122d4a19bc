/* Signals that are series of harmonics, of many parameter sets, and their pullbacks
 * (vector-Jacobian products): the device text of the Rust modules `family::zonal`
 * and `family::orthotropic`.
 *
 *   zonal        E = sum_k c_sk P_2k(t),                t = g_i . mu
 *   orthotropic  E = sum_jk c_sjk Q_lm(t_1) C_j(v, w),  t_a = g_i . m_a,
 *                m = 2 j, l = 2 (j + k), v = t_2^2 - t_3^2, w = 1 - t_1^2
 *
 * Slots, `shell_of`, `shell_slots` and the layout of arrays are those of signal.c.
 * Signals of padded slots are written but mean nothing; weights of padded slots
 * must be zero. `terms` [set, shell] is how many coefficients of a zonal row are in
 * use, `lengths` [set, shell, degree] how many of each order of an orthotropic
 * table, zero from the first unused order on; what stands behind them is never read.
 *
 * Zonal polynomials come from Bonnet's recurrence in t (NIST DLMF 14.10.3) in the form
 *   P_n+1 = t P_n + n / (n + 1) (t P_n - P_n-1),
 * where the bracket, small at t = 1, is rounded once; slopes from
 *   P'_n+1 = P'_n-1 + (2 n + 1) P_n,
 * which only adds. So single precision loses little more than the rounding of t.
 *
 * With e_n^2 = n^2 - m^2 the degrees of one order obey
 *   e_n+1 Q_n+1 = (2 n + 1) t Q_n - e_n Q_n-1,   n = m, m + 1, ...,
 * and C_j+1 = 2 v C_j - w^2 C_j-1. At t = 1 Q reaches 1e25 for l = 126 while C
 * vanishes; the constructor of the arguments refuses more than 64 degrees.
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
    U32 sets;    /* parameter sets */
    U32 shells;  /* shells of the acquisition */
    U32 slots;   /* slots of the acquisition, a multiple of LANES */
    U32 degrees; /* degrees l = 0, 2, ... of a table of coefficients */
    U32 stride;  /* coefficients of a shell: degrees, or their pairs with orders */
} SeriesArguments;

STATIC_ASSERT(SeriesArguments_size, sizeof(SeriesArguments) == 20);
STATIC_ASSERT(SeriesArguments_sets, OFFSET_OF(SeriesArguments, sets) == 0);
STATIC_ASSERT(SeriesArguments_shells, OFFSET_OF(SeriesArguments, shells) == 4);
STATIC_ASSERT(SeriesArguments_slots, OFFSET_OF(SeriesArguments, slots) == 8);
STATIC_ASSERT(SeriesArguments_degrees, OFFSET_OF(SeriesArguments, degrees) == 12);
STATIC_ASSERT(SeriesArguments_stride, OFFSET_OF(SeriesArguments, stride) == 16);

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

/* e_n of order m. */
DEVICE_FN REAL edge(U32 n, U32 m)
{
    return SQRT((REAL)((n - m) * (n + m)));
}

/* The square of Q_mm, m = 2 j, from that of j - 1; it begins as 1. */
DEVICE_FN REAL next_first(U32 j, REAL square)
{
    U32 m = 2u * j;
    REAL ratio = (REAL)((2u * m - 3u) * (2u * m - 1u)) / (REAL)((2u * m - 2u) * (2u * m));
    return j == 1u ? R(2.0) * ratio * square : ratio * square;
}

/* C_j+1 from C_j and C_j-1. */
DEVICE_FN REAL next_angle(U32 j, REAL v, REAL w, REAL now, REAL last)
{
    return j == 0u ? v : FMA(R(2.0) * v, now, -(w * w) * last);
}

/* Q_n+1 from Q_n and Q_n-1; `here` and `above` are e_n and e_n+1. */
DEVICE_FN REAL next_degree(U32 n, REAL t, REAL now, REAL last, REAL here, REAL above)
{
    return FMA((REAL)(2u * n + 1u) / above * t, now, -(here / above) * last);
}

/* Q_lm(t), k degrees above m; `first` is Q_mm. */
DEVICE_FN REAL order_polynomial(U32 k, U32 m, REAL first, REAL t)
{
    REAL now = first, last = R(0.0), here = R(0.0);
    for (U32 n = m; n < m + 2u * k; n++) {
        REAL above = edge(n + 1u, m);
        REAL next = next_degree(n, t, now, last, here, above);
        last = now;
        now = next;
        here = above;
    }
    return now;
}

/* sums = sum_k c_k Q_lm(t) and its slope, of one order. */
DEVICE_FN void order_sums(GLOBAL const REAL *c, U32 length, U32 m, REAL first, REAL t, THREAD REAL *sums)
{
    REAL now = first, last = R(0.0), slope = R(0.0), last_slope = R(0.0), here = R(0.0);
    sums[0] = R(0.0);
    sums[1] = R(0.0);
    for (U32 n = m; n < m + 2u * length; n++) {
        REAL above = edge(n + 1u, m);
        if ((n - m) % 2u == 0u) {
            sums[0] = FMA(c[(n - m) / 2u], now, sums[0]);
            sums[1] = FMA(c[(n - m) / 2u], slope, sums[1]);
        }
        REAL next = next_degree(n, t, now, last, here, above);
        REAL next_slope = FMA((REAL)(2u * n + 1u) / above, now, next_degree(n, t, slope, last_slope, here, above));
        last = now;
        last_slope = slope;
        now = next;
        slope = next_slope;
        here = above;
    }
}

/* c [set, shell, stride], frame [set, 3, 3] -> signal [set, slot]; items: (set, slot). */
KERNEL(orthotropic_signal,
       ARGUMENTS(SeriesArguments, p),
       INPUT(REAL, c, 1),
       INPUT(U32, lengths, 2),
       INPUT(REAL, frame, 3),
       INPUT(REAL, direction, 4),
       INPUT(U32, shell_of, 5),
       OUTPUT(REAL, signal, 6))
{
    FOR_ITEMS(item, p.sets * p.slots) {
        U32 set = item / p.slots, slot = item % p.slots;
        U32 shell = set * p.shells + shell_of[slot];
        REAL t1 = cosine(direction, p.slots, slot, frame + 9u * set);
        REAL t2 = cosine(direction, p.slots, slot, frame + 9u * set + 3u);
        REAL t3 = cosine(direction, p.slots, slot, frame + 9u * set + 6u);
        REAL v = FMA(t2, t2, -(t3 * t3)), w = FMA(-t1, t1, R(1.0));
        REAL angle = R(1.0), last = R(0.0), square = R(1.0), sum = R(0.0);
        U32 row = p.stride * shell;
        for (U32 j = 0u; j < p.degrees; j++) {
            U32 length = lengths[p.degrees * shell + j];
            if (length == 0u)
                break;
            REAL sums[2];
            order_sums(c + row, length, 2u * j, SQRT(square), t1, sums);
            sum = FMA(angle, sums[0], sum);
            REAL next = next_angle(j, v, w, angle, last);
            last = angle;
            angle = next;
            square = next_first(j + 1u, square);
            row += p.degrees - j;
        }
        signal[item] = sum;
    }
}

/* weight [set, slot] -> dL/dc [set, shell, stride] = sum w Q C, zero beyond the
 * lengths; items: (set, shell, pair). */
KERNEL(orthotropic_pullback,
       ARGUMENTS(SeriesArguments, p),
       INPUT(U32, lengths, 1),
       INPUT(REAL, frame, 2),
       INPUT(REAL, direction, 3),
       INPUT(REAL, weight, 4),
       INPUT(U32, shell_slots, 5),
       OUTPUT(REAL, moments, 6))
{
    FOR_ITEMS(item, p.sets * p.shells * p.stride) {
        U32 table = item / p.stride, k = item % p.stride;
        U32 set = table / p.shells, shell = table % p.shells;
        U32 order = 0u;
        REAL square = R(1.0), total[LANES];
        while (k >= p.degrees - order) {
            k -= p.degrees - order;
            order++;
            square = next_first(order, square);
        }
        for (U32 lane = 0u; lane < LANES; lane++)
            total[lane] = R(0.0);
        U32 end = k < lengths[p.degrees * table + order] ? shell_slots[2u * shell + 1u] : 0u;
        for (U32 slot = shell_slots[2u * shell]; slot < end; slot++) {
            REAL t1 = cosine(direction, p.slots, slot, frame + 9u * set);
            REAL t2 = cosine(direction, p.slots, slot, frame + 9u * set + 3u);
            REAL t3 = cosine(direction, p.slots, slot, frame + 9u * set + 6u);
            REAL v = FMA(t2, t2, -(t3 * t3)), w = FMA(-t1, t1, R(1.0));
            REAL angle = R(1.0), last = R(0.0);
            for (U32 j = 0u; j < order; j++) {
                REAL next = next_angle(j, v, w, angle, last);
                last = angle;
                angle = next;
            }
            REAL harmonic = angle * order_polynomial(k, 2u * order, SQRT(square), t1);
            total[slot % LANES] = FMA(weight[set * p.slots + slot], harmonic, total[slot % LANES]);
        }
        moments[item] = tree_sum(total);
    }
}

/* weight [set, slot] -> dL/dm_a [set, axis a, 3] = sum w dE/dt_a g; items: set.
 *
 *   dE/dt_1 = sum_j C_j dS_j/dt_1 - 2 t_1 S_j dC_j/dw,   S_j = sum_k c_jk Q_lm
 *   dE/dt_2 = 2 t_2 sum_j S_j dC_j/dv,  dE/dt_3 the same with -2 t_3 */
KERNEL(orthotropic_frame,
       ARGUMENTS(SeriesArguments, p),
       INPUT(REAL, c, 1),
       INPUT(U32, lengths, 2),
       INPUT(REAL, frame, 3),
       INPUT(REAL, direction, 4),
       INPUT(REAL, weight, 5),
       INPUT(U32, shell_of, 6),
       OUTPUT(REAL, by_frame, 7))
{
    FOR_ITEMS(set, p.sets) {
        REAL total[9][LANES];
        for (U32 lane = 0u; lane < LANES; lane++)
            for (U32 i = 0u; i < 9u; i++)
                total[i][lane] = R(0.0);
        for (U32 slot = 0u; slot < p.slots; slot++) {
            U32 shell = set * p.shells + shell_of[slot], lane = slot % LANES, row = p.stride * shell;
            REAL t1 = cosine(direction, p.slots, slot, frame + 9u * set);
            REAL t2 = cosine(direction, p.slots, slot, frame + 9u * set + 3u);
            REAL t3 = cosine(direction, p.slots, slot, frame + 9u * set + 6u);
            REAL v = FMA(t2, t2, -(t3 * t3)), w = FMA(-t1, t1, R(1.0));
            /* C_j, dC_j/dv, dC_j/dw; those of j - 1; dE/dt_1, dE/dv, dE/dw. */
            REAL angle = R(1.0), by_v = R(0.0), by_w = R(0.0);
            REAL last = R(0.0), last_v = R(0.0), last_w = R(0.0);
            REAL e_t = R(0.0), e_v = R(0.0), e_w = R(0.0), square = R(1.0);
            for (U32 j = 0u; j < p.degrees; j++) {
                U32 length = lengths[p.degrees * shell + j];
                if (length == 0u)
                    break;
                REAL sums[2];
                order_sums(c + row, length, 2u * j, SQRT(square), t1, sums);
                e_t = FMA(angle, sums[1], e_t);
                e_v = FMA(by_v, sums[0], e_v);
                e_w = FMA(by_w, sums[0], e_w);
                REAL next = next_angle(j, v, w, angle, last), next_v = R(1.0), next_w = R(0.0);
                if (j > 0u) {
                    next_v = FMA(R(2.0), angle, next_angle(j, v, w, by_v, last_v));
                    next_w = FMA(R(-2.0) * w, last, next_angle(j, v, w, by_w, last_w));
                }
                last = angle;
                last_v = by_v;
                last_w = by_w;
                angle = next;
                by_v = next_v;
                by_w = next_w;
                square = next_first(j + 1u, square);
                row += p.degrees - j;
            }
            REAL wi = weight[set * p.slots + slot], by_t[3];
            by_t[0] = wi * FMA(R(-2.0) * t1, e_w, e_t);
            by_t[1] = wi * R(2.0) * t2 * e_v;
            by_t[2] = wi * R(-2.0) * t3 * e_v;
            for (U32 i = 0u; i < 9u; i++)
                total[i][lane] = FMA(by_t[i / 3u], direction[(i % 3u) * p.slots + slot], total[i][lane]);
        }
        for (U32 i = 0u; i < 9u; i++)
            by_frame[9u * set + i] = tree_sum(total[i]);
    }
}
