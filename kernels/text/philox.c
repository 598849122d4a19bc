/* Philox4x32-10: random words from a counter and a key, without any state; the
 * device text of the Rust module `philox`, with the same layout of the counter.
 *
 * Source: Salmon, Moraes, Dror & Shaw 2011, doi:10.1145/2063384.2063405, sec. 3.3.
 * Validated by the published known answers of Random123 and by equality with
 * the Rust function in tests/text_parity.rs.
 */

CONSTANT U32 PHILOX_MULTIPLIER_0 = 0xD2511F53u;
CONSTANT U32 PHILOX_MULTIPLIER_1 = 0xCD9E8D57u;
CONSTANT U32 PHILOX_WEYL_0 = 0x9E3779B9u;
CONSTANT U32 PHILOX_WEYL_1 = 0xBB67AE85u;

/* Four 32-bit words: a counter, or the random words made from it. */
typedef struct {
    U32 x0;
    U32 x1;
    U32 x2;
    U32 x3;
} Words;

/* What the words of a launch depend on. */
typedef struct {
    U32 seed_low;  /* low half of the seed: key 0 */
    U32 seed_high; /* high half of the seed: key 1 */
    U32 draw;      /* counter 0 */
    U32 step;      /* counter 1 */
    U32 item_low;  /* low 32 bits of the first global item */
    U32 item_high; /* its bits 32 to 55 */
    U32 stream;    /* what the numbers are for, below 256 */
    U32 items;     /* items of the launch */
} PhiloxArguments;

STATIC_ASSERT(PhiloxArguments_size, sizeof(PhiloxArguments) == 32);
STATIC_ASSERT(PhiloxArguments_seed_low, OFFSET_OF(PhiloxArguments, seed_low) == 0);
STATIC_ASSERT(PhiloxArguments_seed_high, OFFSET_OF(PhiloxArguments, seed_high) == 4);
STATIC_ASSERT(PhiloxArguments_draw, OFFSET_OF(PhiloxArguments, draw) == 8);
STATIC_ASSERT(PhiloxArguments_step, OFFSET_OF(PhiloxArguments, step) == 12);
STATIC_ASSERT(PhiloxArguments_item_low, OFFSET_OF(PhiloxArguments, item_low) == 16);
STATIC_ASSERT(PhiloxArguments_item_high, OFFSET_OF(PhiloxArguments, item_high) == 20);
STATIC_ASSERT(PhiloxArguments_stream, OFFSET_OF(PhiloxArguments, stream) == 24);
STATIC_ASSERT(PhiloxArguments_items, OFFSET_OF(PhiloxArguments, items) == 28);

/* Ten rounds of Philox. */
DEVICE_FN Words philox(Words x, U32 key_0, U32 key_1)
{
    for (U32 round = 0u; round < 10u; round++) {
        U32 high0 = MULHI(PHILOX_MULTIPLIER_0, x.x0), low0 = PHILOX_MULTIPLIER_0 * x.x0;
        U32 high1 = MULHI(PHILOX_MULTIPLIER_1, x.x2), low1 = PHILOX_MULTIPLIER_1 * x.x2;
        x.x0 = high1 ^ x.x1 ^ key_0;
        x.x1 = low1;
        x.x2 = high0 ^ x.x3 ^ key_1;
        x.x3 = low0;
        key_0 += PHILOX_WEYL_0;
        key_1 += PHILOX_WEYL_1;
    }
    return x;
}

/* words [item, 4]; items: item. Counter 2 is the low half of the global item,
 * counter 3 holds the stream in 8 bits and bits 32 to 55 of the item above. */
KERNEL(philox_words,
       ARGUMENTS(PhiloxArguments, p),
       OUTPUT(U32, words, 1))
{
    FOR_ITEMS(item, p.items) {
        U32 low = p.item_low + item;
        U32 high = p.item_high + (low < item ? 1u : 0u);
        Words x;
        x.x0 = p.draw;
        x.x1 = p.step;
        x.x2 = low;
        x.x3 = p.stream | (high << 8u);
        x = philox(x, p.seed_low, p.seed_high);
        words[4u * item] = x.x0;
        words[4u * item + 1u] = x.x1;
        words[4u * item + 2u] = x.x2;
        words[4u * item + 3u] = x.x3;
    }
}
