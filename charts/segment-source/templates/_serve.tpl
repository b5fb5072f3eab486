{{- /*
The pods of segment-source: single (role all), edge, ingest. They differ in their flags, ports and
volumes only. Takes root, component, role, tls (name of the Secret with the certificate), resources.
*/ -}}
{{- define "serve.pod" -}}
{{- $full := include "name.full" .root -}}
{{- $edge := ne .role "ingest" -}}
{{- $ingest := ne .role "edge" -}}
{{- $own := .root.Values.destinationCA -}}
{{- $ca := and $ingest (or $own.configMap $own.secret) -}}
{{- $redis := .root.Values.redis.existingSecret -}}
{{- $shared := and $ingest $redis -}}
serviceAccountName: {{ include "name.account" .root }}
# They do not call the API server.
automountServiceAccountToken: false
# More than --drain, and what comes before it.
terminationGracePeriodSeconds: 40
{{ include "pod.placement" (dict "root" .root "component" .component "spread" (or (not $ingest) (and $redis (not $edge)))) }}
containers:
  - name: segment-source
    image: {{ include "pod.image" .root }}
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    command: [/segment-source]
    args:
      - serve
      - --role={{ .role }}
      - --config={{ include "name.operatorUrl" .root }}
      - --tls=/tls
      - --replica=$(POD_NAME)
      - --cache=/cache
      - --drain=25s
      - {{ printf "--admin=%s:9091" .root.Values.listen | quote }}
      {{- if $edge }}
      - {{ printf "--http=%s:8080" .root.Values.listen | quote }}
      {{- end }}
      {{- if $ingest }}
      - {{ printf "--grpc=%s:9090" .root.Values.listen | quote }}
      {{- if $redis }}
      - --store-secret=/redis
      {{- else }}
      - --store=/data/store
      {{- end }}
      - --platform-token=/platform/token
      {{- range .root.Values.allowDestinations }}
      - {{ printf "--allow-destination=%s" . | quote }}
      {{- end }}
      {{- if $ca }}
      - --destination-ca=/destination-ca/ca.crt
      {{- end }}
      {{- range $tier, $rate := .root.Values.knockRates }}
      - {{ printf "--knock-rate=%s=%d" $tier (int $rate) | quote }}
      {{- end }}
      {{- else }}
      - --ingest={{ include "name.ingest" .root }}
      {{- end }}
      {{- include "pod.container.log" .root | nindent 6 }}
    env:
      {{- include "pod.container.identity" .root | nindent 6 }}
      {{- if $ingest }}
      # For the command line: kubectl exec POD -- /segment-source events list --source NS/NAME
      - {name: SEGMENT_SOURCE_SERVER, value: "https://127.0.0.1:9090"}
      - {name: SEGMENT_SOURCE_CA, value: /tls/ca.crt}
      - {name: SEGMENT_SOURCE_TOKEN_FILE, value: /platform/token}
      {{- end }}
      {{- if $shared }}
      # kubectl exec POD -- /segment-source doctor
      - {name: SEGMENT_SOURCE_STORE_SECRET, value: /redis}
      {{- end }}
    ports:
      {{- if $edge }}
      - {name: http, containerPort: 8080}
      {{- end }}
      {{- if $ingest }}
      - {name: grpc, containerPort: 9090}
      {{- end }}
      - {name: admin, containerPort: 9091}
    {{- include "pod.container.probes" .root | nindent 4 }}
    {{- if or (not $ingest) $redis }}
    # Between the end of the pod and the moment when the last node knows of it, requests still come:
    # they are answered.
    lifecycle:
      preStop:
        sleep: {seconds: 5}
    {{- end }}
    resources:
      {{- toYaml .resources | nindent 6 }}
    {{- include "pod.container.security" .root | nindent 4 }}
    volumeMounts:
      - {name: tls, mountPath: /tls, readOnly: true}
      - {name: cache, mountPath: /cache}
      {{- if $ingest }}
      - {name: platform, mountPath: /platform, readOnly: true}
      {{- if $redis }}
      - {name: redis, mountPath: /redis, readOnly: true}
      {{- else }}
      - {name: data, mountPath: /data}
      {{- end }}
      {{- end }}
      {{- if $ca }}
      - {name: destination-ca, mountPath: /destination-ca, readOnly: true}
      {{- end }}
volumes:
  {{- include "pod.volume.tls" (dict "name" .tls) | nindent 2 }}
  # The last good configuration, with secrets: in memory, so that it ends with the pod.
  - name: cache
    emptyDir:
      medium: Memory
      sizeLimit: 128Mi
  {{- if $ingest }}
  - name: platform
    secret:
      secretName: {{ $full }}-platform-token
      defaultMode: 288
      items:
        - {key: token, path: token}
  {{- end }}
  {{- if $shared }}
  # Whole: which of its keys there are is the Secret's affair.
  - name: redis
    secret:
      secretName: {{ $redis | quote }}
      defaultMode: 288
  {{- end }}
  {{- if $ca }}
  - name: destination-ca
    {{- if $own.secret }}
    secret:
      secretName: {{ $own.secret }}
      defaultMode: 288
    {{- else }}
    configMap:
      name: {{ $own.configMap }}
    {{- end }}
      items:
        - {key: {{ $own.key | quote }}, path: ca.crt}
  {{- end }}
{{- end -}}

{{- /* The workload of the pods that have the store: one with a volume, or those that share a Redis.
Takes what serve.pod takes, name, and replicas. */ -}}
{{- define "serve.store" -}}
{{- if .root.Values.redis.existingSecret -}}
{{- include "serve.pool" . -}}
{{- else -}}
{{- include "serve.stateful" . -}}
{{- end -}}
{{- end -}}

{{- /* A Deployment whose pods can be replaced one by one. Takes what serve.pod takes, name, and
replicas (0: somebody else sets them). */ -}}
{{- define "serve.pool" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace | quote }}
  labels:
    {{- include "labels.common" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
spec:
  {{- with .replicas }}
  replicas: {{ . }}
  {{- end }}
  {{- if eq .component "ingest" }}
  # Edges look for their ingests every 5 seconds, and name servers remember for 5: before an old one
  # goes, they know the new one.
  minReadySeconds: 10
  {{- end }}
  strategy:
    type: RollingUpdate
    # A new pod is ready before an old one goes, so that nothing is refused.
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
  selector:
    matchLabels:
      {{- include "labels.selector" .root | nindent 6 }}
      app.kubernetes.io/component: {{ .component }}
  template:
    metadata:
      {{- include "pod.metadata" . | nindent 6 }}
    spec:
      {{- include "serve.pod" . | nindent 6 }}
{{- end -}}

{{- /* The StatefulSet of the pod that has the store. Takes what serve.pod takes, and name. */ -}}
{{- define "serve.stateful" -}}
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace | quote }}
  labels:
    {{- include "labels.common" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
spec:
  # One process owns the store.
  replicas: 1
  serviceName: {{ include "name.full" .root }}-grpc
  # A pod that cannot start does not keep its own replacement waiting.
  podManagementPolicy: Parallel
  selector:
    matchLabels:
      {{- include "labels.selector" .root | nindent 6 }}
      app.kubernetes.io/component: {{ .component }}
  persistentVolumeClaimRetentionPolicy:
    whenDeleted: Retain
    whenScaled: Retain
  template:
    metadata:
      {{- include "pod.metadata" . | nindent 6 }}
    spec:
      {{- include "serve.pod" . | nindent 6 }}
  volumeClaimTemplates:
    # The API server adds these two; without them GitOps tools see a difference for ever.
    - apiVersion: v1
      kind: PersistentVolumeClaim
      metadata:
        name: data
        labels:
          {{- include "labels.selector" .root | nindent 10 }}
          app.kubernetes.io/component: {{ .component }}
      spec:
        accessModes: [ReadWriteOnce]
        {{- with .root.Values.storage.className }}
        storageClassName: {{ . | quote }}
        {{- end }}
        resources:
          requests:
            storage: {{ .root.Values.storage.size | quote }}
{{- end -}}
