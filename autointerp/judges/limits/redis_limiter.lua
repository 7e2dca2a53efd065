-- The rules of window.py, carried out by Redis in one step. KEYS: state, calls of the window, slots, workers that wait.
-- ARGV[1], in words (one argument costs the client less than twenty): operation, epoch and moment by the asker's clock,
-- length of the window, milliseconds to keep the keys, Redis's time (-: ask it; tests give it), and what the operation
-- takes. Answers {status, epoch, moment, wait}; times are whole microseconds.
--
-- The moment follows the steps of Redis's clock, which may jump. Whoever was answered before tells how late it must be
-- by now, by its own monotonic clock: where a step leads back, or far beyond that, its word counts instead.

local ADMITTED, WAIT, PAUSED, UNKNOWN = 1, 2, 3, 4
local FIRST_CONCURRENCY, SETBACK = 16, 4
local SLOT_POLL, LONGEST_WAIT, OVERDUE, HANDOVER = 100000, 5000000, 2000000, 20000

local TOLERANCE = 2000000

local words = {}
for word in string.gmatch(ARGV[1], '%S+') do words[#words + 1] = word end
local operation, epoch, claim, length = words[1], words[2], tonumber(words[3]), tonumber(words[4])
local keep, time, args = tonumber(words[5]), words[6], 6
local STATE, CALLS, SLOTS, WAITING = unpack(KEYS)
local FIELDS = {'now', 'clock', 'limit', 'steep', 'good', 'peak', 'cut_at', 'paused_until', 'input', 'output',
  'told_requests', 'told_input', 'told_output', 'kept_at'}

local state, loaded = {}, {}
local made_anew = false -- A key that was empty has lost its expiry.

local function clock()
  if time ~= '-' then return tonumber(time) end
  local now = redis.call('TIME')
  return now[1] * 1000000 + now[2]
end

local function tick(known_to_asker)
  local before = state.clock
  state.clock = clock()
  local step = state.clock - before
  local moment = state.now + step
  if known_to_asker and (step < 0 or moment > claim + TOLERANCE) then moment = claim end
  state.now = math.max(state.now, moment)
end

local function load()
  local values = redis.call('HMGET', STATE, 'epoch', unpack(FIELDS))
  if not values[1] then return false end
  for i, field in ipairs(FIELDS) do state[field] = tonumber(values[i + 1]) end
  for field, value in pairs(state) do loaded[field] = value end
  -- Whoever forgets a worker has no part in the clock, and so nothing to check a jump against.
  if operation ~= 'forget' then tick(values[1] == epoch) end
  epoch = values[1]
  return true
end

local function save()
  if made_anew or state.now - state.kept_at >= length / 2 or state.paused_until ~= loaded.paused_until then
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
    local kept = keep + math.max(0, math.floor((state.paused_until - state.now) / 1000))
    for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, kept) end
  end
end

local function answer(status, wait)
  return {status, epoch, state.now, wait or 0}
end

-- A call of the window is 'id input output'.
local function tokens_of(call)
  local input, output = string.match(call, ' (%d+) (%d+)$')
  return tonumber(input), tonumber(output)
end

local function hold(sign, input, output)
  state.input = state.input + sign * input
  state.output = state.output + sign * output
end

local function advance()
  local past = string.format('%.0f', state.now - length)
  local left = redis.call('ZRANGEBYSCORE', CALLS, '-inf', past)
  for _, call in ipairs(left) do hold(-1, tokens_of(call)) end
  if #left > 0 then redis.call('ZREMRANGEBYSCORE', CALLS, '-inf', past) end
end

-- 0 is no ceiling.
local function lower(first, second)
  if first == 0 then first = math.huge end
  if second == 0 then second = math.huge end
  return math.min(first, second)
end

local function room_in(input, output, requests, most_input, most_output)
  requests = lower(requests, state.told_requests)
  most_input, most_output = lower(most_input, state.told_input), lower(most_output, state.told_output)
  local count, first, wait = redis.call('ZCARD', CALLS), 0, 0
  input, output = state.input + input, state.output + output
  while count > 0 do
    local calls = redis.call('ZRANGE', CALLS, first, first + 63, 'WITHSCORES')
    if #calls == 0 then break end
    for i = 1, #calls, 2 do
      if count < requests and input <= most_input and output <= most_output then return wait end
      wait = tonumber(calls[i + 1]) + length - state.now
      local its_input, its_output = tokens_of(calls[i])
      count, input, output = count - 1, input - its_input, output - its_output
    end
    first = first + 64
  end
  return wait
end

local function waiting_of(value)
  local since, until_ = string.match(value, '^(%d+) (%d+)$')
  return tonumber(since), tonumber(until_)
end

local function turn_in(worker, waiting)
  local mine = waiting[worker] and waiting_of(waiting[worker]) or state.now
  local wait = 0
  for other, value in pairs(waiting) do
    local since, until_ = waiting_of(value)
    if until_ + OVERDUE <= state.now then
      redis.call('HDEL', WAITING, other)
    elseif since + OVERDUE <= state.now and since < mine then
      wait = math.max(wait, until_ - state.now, HANDOVER)
    end
  end
  return wait
end

local function hash(flat)
  local result = {}
  for i = 1, #flat, 2 do result[flat[i]] = flat[i + 1] end
  return result
end

local function ask(id, input, output, concurrency, requests, most_input, most_output, timeout)
  redis.call('ZREMRANGEBYSCORE', SLOTS, '-inf', string.format('%.0f', state.now))
  if redis.call('ZSCORE', SLOTS, id) then return answer(ADMITTED) end
  if state.paused_until > state.now then return answer(PAUSED, state.paused_until - state.now) end
  local worker, taken = string.match(id, '^([^/]*)/'), redis.call('ZCARD', SLOTS)
  local waiting = hash(redis.call('HGETALL', WAITING))
  local wait = math.max(
    taken >= math.min(state.limit, concurrency) and SLOT_POLL or 0,
    room_in(input, output, requests, most_input, most_output),
    turn_in(worker, waiting))
  if wait > 0 then
    wait = math.min(wait, LONGEST_WAIT)
    local since = redis.call('HGET', WAITING, worker)
    since = since and waiting_of(since) or state.now
    made_anew = next(waiting) == nil
    redis.call('HSET', WAITING, worker, string.format('%.0f %.0f', since, state.now + wait))
    return answer(WAIT, wait)
  end
  if waiting[worker] then redis.call('HDEL', WAITING, worker) end
  made_anew = taken == 0 or redis.call('EXISTS', CALLS) == 0
  redis.call('ZADD', CALLS, state.now, string.format('%s %d %d', id, input, output))
  redis.call('ZADD', SLOTS, state.now + timeout, id)
  hold(1, input, output)
  state.peak = math.max(state.peak, taken + 1)
  return answer(ADMITTED)
end

local function next_round()
  state.good, state.peak = 0, redis.call('ZCARD', SLOTS)
end

local function learn(ending, moment, ceiling)
  if ending == 'failed' then
    state.good = math.max(0, state.good - SETBACK)
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

local function settle(
  id, ending, moment, reserved_input, reserved_output, used_input, used_output, requests, input, output, ceiling
)
  local held = string.format('%s %d %d', id, reserved_input, reserved_output)
  local admitted = redis.call('ZSCORE', CALLS, held)
  if admitted then
    hold(-1, reserved_input, reserved_output)
    local settled = string.format('%s %d %d', id, used_input, used_output)
    if ending ~= 'unused' then
      redis.call('ZADD', CALLS, admitted, settled)
      hold(1, used_input, used_output)
    end
    if ending == 'unused' or settled ~= held then redis.call('ZREM', CALLS, held) end
  end
  if requests > 0 then state.told_requests = requests end
  if input > 0 then state.told_input = input end
  if output > 0 then state.told_output = output end
  if redis.call('ZREM', SLOTS, id) == 1 then learn(ending, moment, ceiling) end
  return answer(ADMITTED)
end

local function forget(worker)
  for _, id in ipairs(redis.call('ZRANGE', SLOTS, 0, -1)) do
    if string.sub(id, 1, #worker + 1) == worker .. '/' then redis.call('ZREM', SLOTS, id) end
  end
  redis.call('HDEL', WAITING, worker)
  return answer(ADMITTED)
end

-- Takes age, input and output of each call of the last minute, flat.
local function seed()
  redis.call('DEL', unpack(KEYS))
  for _, field in ipairs(FIELDS) do state[field] = 0 end
  state.clock, state.limit, state.steep, state.cut_at = clock(), FIRST_CONCURRENCY, 1, -1
  for i = args + 1, #words, 3 do
    redis.call('ZADD', CALLS, -tonumber(words[i]), string.format('seed/%d %d %d', i, words[i + 1], words[i + 2]))
    hold(1, tonumber(words[i + 1]), tonumber(words[i + 2]))
  end
end

local function numbers(from, to)
  local result = {}
  for i = from, to do result[#result + 1] = tonumber(words[args + i]) end
  return unpack(result)
end

local known = load()
if operation == 'seed' then
  if not known then seed() end
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
elseif operation == 'forget' then
  result = forget(words[args + 1])
else
  result = answer(ADMITTED)
end
save()
return result
