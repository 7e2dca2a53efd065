-- The rules of admission_window.py, carried out by Redis as one atomic step. A test runs both through the same operations: change both
-- together. The rules are explained there; comments here are about Redis.
--
-- KEYS: the state (a hash), the calls of the window (a sorted set of 'id input output' by moment of admission), the slots (a sorted set
-- of ids by the moment at which each is freed), and the waiting workers (a hash of 'since until').
-- ARGV[1] holds everything else as words, because one argument costs the client less than twenty: the operation, the epoch and the
-- limiter's time as the asking process knows them, the window's length, how many milliseconds to keep the keys, Redis's time (-: read
-- its clock; tests give a time), and the operation's own arguments.
-- Returns {status, epoch, moment, wait}. All times but the milliseconds are whole microseconds.
--
-- Workers of different versions may share the keys: fields that are stored keep their names and meanings.
--
-- Time. `state.now` is the limiter's own time. It never goes back, and advances by the steps of Redis's clock, which may be set
-- while it runs. A process that was answered before knows, by its own monotonic clock, a lower bound of the limiter's time now (its
-- claim). If Redis's clock went back, or is ahead of the claim by more than TOLERANCE, the claim is used instead.
--
-- An epoch is one life of the state, from a seeding until Redis loses it. Claims of another epoch do not count.

local ADMITTED, WAIT, PAUSED, UNKNOWN = 1, 2, 3, 4
local START_CONCURRENCY, FAILURE_PENALTY = 16, 4
local SLOT_POLL, MAX_WAIT, OVERDUE, TURN_WAIT = 100000, 5000000, 2000000, 20000

-- Two seconds: longer than an answer of Redis takes to arrive.
local TOLERANCE = 2000000

local words = {}
for word in string.gmatch(ARGV[1], '%S+') do words[#words + 1] = word end
local operation, epoch, claim, length = words[1], words[2], tonumber(words[3]), tonumber(words[4])
local keep_ms, time, args = tonumber(words[5]), words[6], 6
local STATE, CALLS, SLOTS, WAITING = unpack(KEYS)
-- The fields of the state. `steep` is slow_start (1 or 0), `good` successes, `peak` peak, `told_*` the limits stated by headers; `clock` is
-- Redis's time at the last step, and `kept_at` the limiter's time at which the keys' expiry was last renewed.
local FIELDS = {'now', 'clock', 'limit', 'steep', 'good', 'peak', 'cut_at', 'paused_until', 'input', 'output',
  'told_requests', 'told_input', 'told_output', 'kept_at'}

local state, loaded = {}, {}
local key_created = false -- A sorted set or hash that had become empty is a new key, without an expiry.

local function clock()
  if time ~= '-' then return tonumber(time) end
  local now = redis.call('TIME')
  return now[1] * 1000000 + now[2]
end

local function tick(has_claim)
  local before = state.clock
  state.clock = clock()
  local step = state.clock - before
  local moment = state.now + step
  if has_claim and (step < 0 or moment > claim + TOLERANCE) then moment = claim end
  state.now = math.max(state.now, moment)
end

local function load()
  local values = redis.call('HMGET', STATE, 'epoch', unpack(FIELDS))
  if not values[1] then return false end
  for i, field in ipairs(FIELDS) do state[field] = tonumber(values[i + 1]) end
  for field, value in pairs(state) do loaded[field] = value end
  -- A process that frees the slots of a dead worker keeps no time of this limiter: it has no claim by which to check a jump.
  if operation ~= 'free_slots' then tick(values[1] == epoch) end
  epoch = values[1]
  return true
end

local function save()
  -- The expiry is renewed at most twice per window, unless a key lost it or a pause must outlive it.
  if key_created or state.now - state.kept_at >= length / 2 or state.paused_until ~= loaded.paused_until then
    state.kept_at = state.now
  end
  local changed = {}
  for _, field in ipairs(FIELDS) do
    if state[field] ~= loaded[field] then
      changed[#changed + 1] = field
      changed[#changed + 1] = string.format('%.0f', state[field])
    end
  end
  redis.call('HSET', STATE, 'epoch', epoch, unpack(changed))
  if state.kept_at == state.now then
    local kept = keep_ms + math.max(0, math.floor((state.paused_until - state.now) / 1000))
    for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, kept) end
  end
end

local function answer(status, wait)
  return {status, epoch, state.now, wait or 0}
end

local function tokens_of(call)
  local input, output = string.match(call, ' (%d+) (%d+)$')
  return tonumber(input), tonumber(output)
end

local function add_tokens(sign, input, output)
  state.input = state.input + sign * input
  state.output = state.output + sign * output
end

local function advance()
  local past = string.format('%.0f', state.now - length)
  local expired = redis.call('ZRANGEBYSCORE', CALLS, '-inf', past)
  for _, call in ipairs(expired) do add_tokens(-1, tokens_of(call)) end
  if #expired > 0 then redis.call('ZREMRANGEBYSCORE', CALLS, '-inf', past) end
end

-- The lower of two ceilings; 0 means no ceiling.
local function lower(first, second)
  if first == 0 then first = math.huge end
  if second == 0 then second = math.huge end
  return math.min(first, second)
end

local function wait_for_room(input, output, max_requests, max_input, max_output)
  max_requests = lower(max_requests, state.told_requests)
  max_input, max_output = lower(max_input, state.told_input), lower(max_output, state.told_output)
  local count, first, wait = redis.call('ZCARD', CALLS), 0, 0
  input, output = state.input + input, state.output + output
  while count > 0 do
    -- 64 at a time: mostly a few old calls make enough room, and the window may hold thousands.
    local calls = redis.call('ZRANGE', CALLS, first, first + 63, 'WITHSCORES')
    if #calls == 0 then break end
    for i = 1, #calls, 2 do
      if count < max_requests and input <= max_input and output <= max_output then return wait end
      wait = tonumber(calls[i + 1]) + length - state.now
      local its_input, its_output = tokens_of(calls[i])
      count, input, output = count - 1, input - its_input, output - its_output
    end
    first = first + 64
  end
  return wait
end

local function parse_waiting(value)
  local since, until_ = string.match(value, '^(%d+) (%d+)$')
  return tonumber(since), tonumber(until_)
end

local function wait_for_turn(worker, waiting)
  local mine = waiting[worker] and parse_waiting(waiting[worker]) or state.now
  local wait = 0
  for other, value in pairs(waiting) do
    local since, until_ = parse_waiting(value)
    if until_ + OVERDUE <= state.now then
      redis.call('HDEL', WAITING, other)
    elseif since + OVERDUE <= state.now and since < mine then
      wait = math.max(wait, until_ - state.now, TURN_WAIT)
    end
  end
  return wait
end

local function to_table(flat)
  local result = {}
  for i = 1, #flat, 2 do result[flat[i]] = flat[i + 1] end
  return result
end

local function ask(id, input, output, concurrency, max_requests, max_input, max_output, timeout)
  redis.call('ZREMRANGEBYSCORE', SLOTS, '-inf', string.format('%.0f', state.now))
  if redis.call('ZSCORE', SLOTS, id) then return answer(ADMITTED) end
  if state.paused_until > state.now then return answer(PAUSED, state.paused_until - state.now) end
  local worker, in_flight = string.match(id, '^([^/]*)/'), redis.call('ZCARD', SLOTS)
  local waiting = to_table(redis.call('HGETALL', WAITING))
  local wait = math.max(
    in_flight >= math.min(state.limit, concurrency) and SLOT_POLL or 0,
    wait_for_room(input, output, max_requests, max_input, max_output),
    wait_for_turn(worker, waiting))
  if wait > 0 then
    wait = math.min(wait, MAX_WAIT)
    local since = redis.call('HGET', WAITING, worker)
    since = since and parse_waiting(since) or state.now
    key_created = next(waiting) == nil
    redis.call('HSET', WAITING, worker, string.format('%.0f %.0f', since, state.now + wait))
    return answer(WAIT, wait)
  end
  if waiting[worker] then redis.call('HDEL', WAITING, worker) end
  key_created = in_flight == 0 or redis.call('EXISTS', CALLS) == 0
  redis.call('ZADD', CALLS, state.now, string.format('%s %d %d', id, input, output))
  redis.call('ZADD', SLOTS, state.now + timeout, id)
  add_tokens(1, input, output)
  state.peak = math.max(state.peak, in_flight + 1)
  return answer(ADMITTED)
end

local function next_round()
  state.good, state.peak = 0, redis.call('ZCARD', SLOTS)
end

local function adapt(ending, moment, ceiling)
  if ending == 'failed' then
    state.good = math.max(0, state.good - FAILURE_PENALTY)
  elseif ending == 'limited' and moment > state.cut_at then
    state.limit = math.max(1, math.floor(math.min(state.limit, ceiling) * 7 / 10))
    state.steep, state.cut_at = 0, state.now
    next_round()
  elseif ending == 'ok' and moment > state.cut_at then
    state.good = state.good + 1
    if state.good >= state.limit then
      if state.peak * 5 >= state.limit * 4 then
        local step = state.steep == 1 and state.limit or math.max(1, math.floor(ceiling / 20))
        state.limit = math.max(state.limit, math.min(ceiling, state.limit + step))
      end
      next_round()
    end
  end
end

-- A call's member of the sorted set holds its tokens, so settling replaces the member under the same score. It is found only if the state
-- was not lost since the call was admitted.
local function settle(
  id, ending, moment, reserved_input, reserved_output, used_input, used_output, requests, input, output, ceiling
)
  local reserved = string.format('%s %d %d', id, reserved_input, reserved_output)
  local admitted = redis.call('ZSCORE', CALLS, reserved)
  if admitted then
    add_tokens(-1, reserved_input, reserved_output)
    local used = string.format('%s %d %d', id, used_input, used_output)
    if ending ~= 'unused' then
      redis.call('ZADD', CALLS, admitted, used)
      add_tokens(1, used_input, used_output)
    end
    if ending == 'unused' or used ~= reserved then redis.call('ZREM', CALLS, reserved) end
  end
  if requests > 0 then state.told_requests = requests end
  if input > 0 then state.told_input = input end
  if output > 0 then state.told_output = output end
  if redis.call('ZREM', SLOTS, id) == 1 then adapt(ending, moment, ceiling) end
  return answer(ADMITTED)
end

local function free_slots(worker)
  for _, id in ipairs(redis.call('ZRANGE', SLOTS, 0, -1)) do
    if string.sub(id, 1, #worker + 1) == worker .. '/' then redis.call('ZREM', SLOTS, id) end
  end
  redis.call('HDEL', WAITING, worker)
  return answer(ADMITTED)
end

-- Takes age, input and output tokens of each call of the last minute, as a flat list. The limiter's time begins at 0.
local function seed()
  redis.call('DEL', unpack(KEYS))
  for _, field in ipairs(FIELDS) do state[field] = 0 end
  state.clock, state.limit, state.steep, state.cut_at = clock(), START_CONCURRENCY, 1, -1
  for i = args + 1, #words, 3 do
    redis.call('ZADD', CALLS, -tonumber(words[i]), string.format('seed/%d %d %d', i, words[i + 1], words[i + 2]))
    add_tokens(1, tonumber(words[i + 1]), tonumber(words[i + 2]))
  end
end

local function numbers(from, to)
  local result = {}
  for i = from, to do result[#result + 1] = tonumber(words[args + i]) end
  return unpack(result)
end

local known = load()
if operation == 'seed' then
  if not known then seed() end -- otherwise another process was faster
elseif not known then
  return {UNKNOWN, '', 0, 0}
end
advance()

local result
if operation == 'ask' then
  result = ask(words[args + 1], numbers(2, 8))
elseif operation == 'settle' then
  local id, ending = words[args + 1], words[args + 2]
  result = settle(id, ending, numbers(3, 11))
elseif operation == 'pause' then
  state.paused_until = math.max(state.paused_until, state.now + numbers(1, 1))
  result = answer(ADMITTED)
elseif operation == 'free_slots' then
  result = free_slots(words[args + 1])
else -- 'seed', and 'look', which only advances the time
  result = answer(ADMITTED)
end
save()
return result
