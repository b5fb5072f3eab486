{{- /* Names and labels. The release's full name is the start of every name; 45 characters leave
room for `-ingest` and what Kubernetes appends to the name of a StatefulSet. */ -}}
{{- define "name.full" -}}
{{- $release := .Release.Name | replace "." "-" -}}
{{- if contains "segment-source" $release -}}
{{- $release | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-segment-source" ($release | trunc 30 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{- /* Of objects without a namespace: two releases of one name in two namespaces must not meet. */ -}}
{{- define "name.cluster" -}}
{{- printf "%s:%s" .Release.Namespace (include "name.full" .) -}}
{{- end -}}

{{- /* The account of edge, ingest and single pods. */ -}}
{{- define "name.account" -}}
{{- if .Values.serviceAccount.name -}}
{{- .Values.serviceAccount.name -}}
{{- else if .Values.serviceAccount.create -}}
{{- include "name.full" . -}}
{{- else -}}
default
{{- end -}}
{{- end -}}

{{- /* What the operator listens on, as the others dial it. */ -}}
{{- define "name.operatorUrl" -}}
{{- printf "https://%s-operator.%s.svc:9443" (include "name.full" .) .Release.Namespace -}}
{{- end -}}

{{- /* Whom edges dial: every ingest at once needs a name that has an address for each. */ -}}
{{- define "name.ingest" -}}
{{- $service := ternary "ingest" "grpc" (not (empty .Values.redis.existingSecret)) -}}
{{- printf "%s-%s.%s.svc:9090" (include "name.full" .) $service .Release.Namespace -}}
{{- end -}}

{{- define "labels.selector" -}}
app.kubernetes.io/name: segment-source
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "labels.common" -}}
{{ include "labels.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- /* Namespaces that the operator watches; the release's own when none are named. */ -}}
{{- define "namespaces.watched" -}}
{{- if .Values.watchNamespaces -}}
{{- join "," .Values.watchNamespaces -}}
{{- else -}}
{{- .Release.Namespace -}}
{{- end -}}
{{- end -}}
