// The interpreter: one dispatch in which the GPU fetches, decodes and executes the instruction pixels.
// Every workgroup follows the program with registers of its own and takes the same path; where
// the plan has a barrier, all meet. Words that others wrote are read past the cache, by atomics.
//
// job: steps, rounds, spins, watched word | code, marks, matches, list of scratch tensors
//      | its length, values watched for, meetings of a trial, 4 | those values
// Behind the list of scratch tensors is one of places of lengths.

@group(0) @binding(0) var<uniform> job: array<vec4<u32>, 5>;
@group(0) @binding(1) var<storage, read> tensors: array<i32>;
@group(0) @binding(2) var<storage, read_write> changing: array<atomic<u32>>;
@group(0) @binding(3) var<storage, read_write> scratch: array<u32>;
@group(0) @binding(4) var<storage, read> image0: array<u32>;
@group(0) @binding(5) var<storage, read> image1: array<u32>;
@group(0) @binding(6) var<storage, read> image2: array<u32>;
@group(0) @binding(7) var<storage, read> image3: array<u32>;

// Unknown to a compiler, which would write the body of a loop out four times.
fn quad_size() -> u32 { return job[2].w; }

fn ld(at: u32) -> u32 { return atomicLoad(&changing[at]); }

fn st(at: u32, value: u32) { atomicStore(&changing[at], value); }

// What comes next: the end, so many instructions from one on, or zeros for scratch tensors.
const THE_END: u32 = 0u;
const WORK: u32 = 2u;
const CLEARING: u32 = 3u;

// awaits: first the other workgroups; lengths: what was done meanwhile may have changed some.
struct Next { what: u32, at: u32, count: u32, awaits: bool, lengths: bool }

// An instruction; share: this workgroup's of the columns of g; turned: with which workgroup it begins.
struct Todo { named: Named, code: u32, mark: u32, share: vec2<u32>, turned: u32, g: Tensor, b: Tensor, a: Tensor }

var<workgroup> registers: array<i32, STATE_WORDS>;
var<workgroup> next: Next;
var<workgroup> todo: array<Todo, MOST>;

// The first lane's.
var<private> meetings: u32 = 0u;
var<private> pending: bool = false;
var<private> lost: bool = false;
var<private> lengths: bool = true;
var<private> steps_left: u32;
var<private> rounds_left: u32;

// The first lane says that its workgroup, which has passed a storageBarrier, has come: what the lanes
// wrote is there for the others.
fn arrive() {
    meetings += 1u;
    atomicAdd(&changing[ARRIVED], 1u);
}

// And it waits for all; who waits too long says so, and ends.
fn wait_for_all(groups: u32) {
    if (lost) { return; }
    var spins = 0u;
    while (atomicLoad(&changing[ARRIVED]) < meetings * groups) {
        spins += 1u;
        if (spins > job[0].z) {
            lost = true;
            atomicStore(&changing[LOST], 1u);
            break;
        }
    }
}

fn meet(groups: u32, lane: u32) {
    storageBarrier();
    if (lane == 0u) {
        arrive();
        wait_for_all(groups);
    }
    workgroupBarrier();
}

// Do workgroups meet, and see what the others, not by the lane that waits, wrote before?
fn trial(group: u32, groups: u32, lane: u32) {
    for (var i = 1u; i <= job[2].z; i++) {
        if (lane == LANES - 1u && group < SEATS) { atomicStore(&changing[FIRST_SEAT + group], i); }
        meet(groups, lane);
        if (lane < min(groups, SEATS) && atomicLoad(&changing[FIRST_SEAT + lane]) != i) { atomicStore(&changing[LOST], 1u); }
        meet(groups, lane);
    }
}

// The first instructions and their marks are kept at hand.
const AT_HAND: u32 = 64u;

var<workgroup> near_marks: array<u32, AT_HAND>;
var<workgroup> near_code: array<u32, AT_HAND>;

fn mark_at(pc: u32) -> u32 {
    if (pc < AT_HAND) { return near_marks[pc]; }
    return u32(tensors[job[1].y + pc]);
}

fn instruction(pc: u32) -> u32 {
    if (pc < AT_HAND) { return near_code[pc]; }
    return image(job[1].x + pc);
}

fn descriptor(instruction: u32, operand: u32) -> u32 {
    let byte = (instruction >> (8u * operand + 8u)) & 255u;
    if (byte < 128u) { return byte; }
    return u32(registers[BASE]) + byte - 128u;
}

fn is_awaited() -> bool {
    if (job[2].y == 0u) { return false; }
    let value = ld(job[0].w);
    for (var i = 0u; i < job[2].y; i++) {
        if (job[3u + i / 4u][i % 4u] == value) { return true; }
    }
    return false;
}

fn control(word: u32, pc: u32) -> bool {
    let operand_a = i32(word >> 24u);
    switch word & 255u {
        case OP_LOOP: {
            let rounds = clamp(scalar(tensor_at(descriptor(word, 0u))), 0, MAX_COUNT);
            pending = true;
            if (rounds == 0) {
                registers[PC] = tensors[job[1].z + pc] + 1;
                return false;
            }
            let at = LOOP_STACK + 4u * u32(registers[LOOPS]);
            registers[at] = registers[PC];
            registers[at + 1u] = rounds;
            registers[at + 2u] = operand_a;
            registers[at + 3u] = registers[BASE];
            registers[LOOPS] += 1;
        }
        case OP_ENDLOOP: {
            let at = LOOP_STACK + 4u * u32(registers[LOOPS] - 1);
            registers[at + 1u] -= 1;
            if (registers[at + 1u] != 0) {
                registers[PC] = registers[at];
                registers[BASE] += registers[at + 2u];
                return false;
            }
            registers[BASE] = registers[at + 3u];
            for (var i = 0u; i < 4u; i++) { registers[at + i] = 0; }
            registers[LOOPS] -= 1;
        }
        case OP_CALL: {
            let at = CALL_STACK + 2u * u32(registers[CALLS]);
            registers[at] = registers[PC];
            registers[at + 1u] = registers[BASE];
            registers[CALLS] += 1;
            registers[PC] = i32((word >> 8u) & 65535u);
            registers[BASE] += operand_a;
        }
        case OP_RETURN: {
            let at = CALL_STACK + 2u * u32(registers[CALLS] - 1);
            registers[PC] = registers[at];
            registers[BASE] = registers[at + 1u];
            registers[at] = 0;
            registers[at + 1u] = 0;
            registers[CALLS] -= 1;
        }
        case OP_SKIPIFZERO: {
            pending = true;
            if (scalar(tensor_at(descriptor(word, 0u))) == 0) { registers[PC] += operand_a; }
        }
        case OP_YIELD: {
            rounds_left -= 1u;
            registers[STATUS] = select(READY, YIELDED, rounds_left == 0u || is_awaited());
            pending = true;
            return true;
        }
        default: {
            registers[PC] -= 1;
            registers[STATUS] = HALTED;
            pending = true;
            return true;
        }
    }
    return false;
}

// The first lane follows the program up to what all lanes have to do.
fn decide(groups: u32) -> Next {
    while (registers[STATUS] == READY && steps_left > 0u) {
        let pc = u32(registers[PC]);
        let mark = mark_at(pc);
        let straight = (mark >> 6u) & 31u;
        let awaits = pending && (mark & 3u) == FULL_NEED;
        if (awaits) {
            arrive();
            pending = false;
            if (straight == 0u) { wait_for_all(groups); }
        }
        if (lost) { break; }
        let made = min(max(straight, 1u), steps_left);
        registers[PC] += i32(made);
        registers[STEPS] = (registers[STEPS] + i32(made)) & 0x7fffffff;
        steps_left -= made;
        if (straight > 0u) {
            pending = true;
            let old = lengths;
            // Others may not have written them yet, until they have been waited for.
            lengths = ((mark >> 11u) & 1u) == 1u || (lengths && !awaits);
            return Next(WORK, pc, made, awaits, old);
        }
        if (control(instruction(pc), pc)) {
            lengths = true;
            return Next(CLEARING, 0u, 0u, false, false);
        }
    }
    return Next(THE_END, 0u, 0u, false, false);
}

// Lengths of tensors that instructions name, where they stand and what they are; looked at anew when one
// may have changed.
var<workgroup> known_at: array<u32, KNOWN>;
var<workgroup> known: array<u32, KNOWN>;

fn rows_in_use(t: Tensor) -> u32 {
    if (t.dtype == PARAMS || t.length < 0) { return used(t); }
    for (var i = 0u; i < KNOWN; i++) {
        if (known_at[i] == u32(t.length)) { return u32(clamp(i32(known[i]), 0, i32(t.rows))); }
    }
    return used(t);
}

// A lane looks an operand up.
fn decode(from_pc: u32, n: u32, group: u32, groups: u32, lane: u32) {
    if (lane == 0u) { holder = 0u; }
    if (lane >= 3u * n) { return; }
    let at = lane / 3u; let operand = lane % 3u;
    let pc = from_pc + at;
    let word = instruction(pc);
    let mark = mark_at(pc);
    let d = descriptor(word, select(0u, operand, operand < ((mark >> 4u) & 3u)));
    let t = tensor_at(d);
    let rows = rows_in_use(t);
    switch operand {
        case 0u: {
            todo[at].named.g = d;
            todo[at].named.rows_g = rows;
            todo[at].named.first = 0u;
            todo[at].named.cols = t.cols;
            todo[at].share = share_of(t.cols, group, groups);
            todo[at].turned = (group + at * (groups / 8u)) % groups;
            todo[at].code = word & 255u;
            todo[at].mark = mark;
            todo[at].g = t;
        }
        case 1u: {
            todo[at].named.b = d;
            todo[at].named.rows_b = rows;
            todo[at].b = t;
        }
        default: {
            todo[at].named.a = d;
            todo[at].named.rows_a = rows;
            todo[at].a = t;
        }
    }
}

// Of products of the same activations, done as one: of the i-th, result, weights, and this workgroup's
// share of their rows.
fn result_of(c: Call, i: u32) -> Tensor { return todo[c.at + i].g; }

fn weights_of(c: Call, i: u32) -> Tensor { return todo[c.at + i].a; }

fn share_of_rows(c: Call, i: u32, group: u32, groups: u32) -> vec2<u32> { return todo[c.at + i].share; }

// The row whose activations are near at hand, 0 for none.
var<workgroup> holder: u32;

fn is_held(start: u32) -> bool { return workgroupUniformLoad(&holder) == start; }

fn now_holds(start: u32, lane: u32) {
    if (lane == 0u) { holder = start; }
}

fn work(n: u32, group: u32, groups: u32, lane: u32) {
    var products = 0u;
    for (var j = 0u; j < n; j += max(products, 1u)) {
        let it = workgroupUniformLoad(&todo[j]);
        let rows = it.named.rows_g;
        let few = rows <= FEW;
        let way = (it.mark >> 2u) & 3u;
        products = 0u;
        if ((it.mark & 3u) == LIGHT_NEED) {
            if (few) { storageBarrier(); } else { meet(groups, lane); }
        }
        if (rows == 0u || it.named.rows_b == 0u || it.named.rows_a == 0u) { continue; }
        // Neighbours begin with different workgroups.
        var its_group = it.turned;
        var its_groups = groups;
        var own = false;
        if (few && way != SPREAD) {
            its_group = group;
            if (way == SHARED) {
                products = min((it.mark >> 12u) & 7u, n - j);
            } else {
                its_group = 0u;
                its_groups = 1u;
                own = way == OWN;
            }
        }
        // The only place, for all of it is compiled there.
        execute(it, Turn(j, max(products, 1u), own), its_group, its_groups, lane);
    }
}

// Which of the instructions, how many products from it on, and whether only the own columns.
struct Turn { at: u32, products: u32, own: bool }

fn call_of(it: Todo, t: Turn) -> Call {
    let first = select(0u, it.share.x, t.own);
    let cols = select(it.named.cols, it.share.y, t.own);
    let n = it.named;
    return Call(it.g, it.b, it.a, n.a, n.rows_g, n.rows_b, n.rows_a, first, cols, t.products, t.at);
}

fn push_all(c: Call, group: u32, groups: u32, lane: u32) {
    if (group != 0u) { return; }
    op_push(c, 0u, 1u, lane);
    storageBarrier();
    op_push_length(c, 0u, 1u, lane);
}

fn clear_scratch(group: u32, groups: u32, lane: u32) {
    for (var i = 0u; i < job[2].x; i++) {
        let d = u32(tensors[job[1].w + i]);
        op_clear(call(Named(d, d, d, used(tensor_at(d)), 1u, 1u, 0u, 0u)), group, groups, lane);
    }
}

fn run(group: u32, groups: u32, lane: u32) {
    for (var i = lane; i < STATE_WORDS; i += LANES) { registers[i] = i32(ld(i)); }
    for (var i = lane; i < min(AT_HAND, job[1].z - job[1].y); i += LANES) {
        near_marks[i] = u32(tensors[job[1].y + i]);
        near_code[i] = image(job[1].x + i);
    }
    if (lane < KNOWN) { known_at[lane] = u32(tensors[job[1].w + job[2].x + lane]); }
    steps_left = job[0].x;
    rounds_left = job[0].y;
    trial(group, groups, lane);
    workgroupBarrier();
    loop {
        storageBarrier();
        if (lane == 0u) { next = decide(groups); }
        let now = workgroupUniformLoad(&next);
        if (now.what == THE_END) { break; }
        switch now.what {
            case CLEARING: { clear_scratch(group, groups, lane); }
            default: {
                if (now.lengths) {
                    if (now.awaits && lane == 0u) { wait_for_all(groups); }
                    workgroupBarrier();
                    if (lane < KNOWN) { known[lane] = ld(known_at[lane]); }
                    workgroupBarrier();
                }
                decode(now.at, now.count, group, groups, lane);
                if (now.awaits && !now.lengths && lane == 0u) { wait_for_all(groups); }
                workgroupBarrier();
                work(now.count, group, groups, lane);
            }
        }
    }
    // Not where they were read: a workgroup may begin when this one has ended.
    if (group == 0u && lane == 0u) {
        for (var i = 0u; i < STATE_WORDS; i++) {
            st(RESULT + i, u32(registers[i]));
        }
        st(MADE, job[0].x - steps_left);
        st(LEFT, rounds_left);
    }
}
