-- Health of a SegmentSource for Argo CD: docs/kubernetes.md says where it goes. It says the same as
-- kstatus, which Flux and `kubectl wait` go by, for every state that the operator reports.
local health = {status = "Progressing", message = "Waiting for the operator"}

local status = obj.status
if status == nil or status.conditions == nil then
  return health
end
if status.observedGeneration ~= obj.metadata.generation then
  health.message = "Waiting for the operator to see the last change"
  return health
end

local conditions = {}
for _, condition in ipairs(status.conditions) do
  conditions[condition.type] = condition
end

-- Only people can mend it. What was accepted before stays in use.
local stalled = conditions["Stalled"]
if stalled ~= nil and stalled.status == "True" then
  health.status = "Degraded"
  health.message = stalled.message
  return health
end

local ready = conditions["Ready"]
if ready == nil then
  return health
end
health.message = ready.message
if ready.status == "True" then
  health.status = "Healthy"
  -- As it was asked for, so not Argo CD's "Suspended", which would hold up later sync waves.
  if obj.spec ~= nil and obj.spec.suspend ~= nil then
    health.message = "Suspended: " .. obj.spec.suspend
  end
end
return health
