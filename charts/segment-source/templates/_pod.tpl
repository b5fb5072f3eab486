{{- /*
What pods have in common. Pods satisfy Pod Security `restricted`: no user of the node, no privilege,
nothing written but to volumes.
*/ -}}
{{- define "pod.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- /* Takes root, component. */ -}}
{{- define "pod.metadata" -}}
labels:
  {{- $own := dict "app.kubernetes.io/component" .component }}
  {{- $labels := mergeOverwrite (deepCopy .root.Values.podLabels) (include "labels.common" .root | fromYaml) $own }}
  {{- toYaml $labels | nindent 2 }}
{{- with .root.Values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* Where the pod may run, and as whom. Takes root, component, spread (whether replicas are spread
by default). */ -}}
{{- define "pod.placement" -}}
{{- $root := .root -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  # Volumes are readable and writable by the program.
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
# Names of Services as environment variables would only be in the way.
enableServiceLinks: false
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- with $root.Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with $root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $labels := include "labels.selector" $root | fromYaml }}
{{- $selector := dict "matchLabels" (set $labels "app.kubernetes.io/component" .component) }}
{{- $constraints := $root.Values.topologySpreadConstraints }}
{{- if and (not $constraints) .spread }}
{{- $constraints = list (dict "maxSkew" 1 "topologyKey" "kubernetes.io/hostname" "whenUnsatisfiable" "ScheduleAnyway" "matchLabelKeys" (list "pod-template-hash")) }}
{{- end }}
{{- with $constraints }}
topologySpreadConstraints:
  {{- range . }}
  - {{ merge (dict) . (dict "labelSelector" $selector) | toYaml | indent 4 | trim }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "pod.container.security" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{- define "pod.container.probes" -}}
livenessProbe:
  httpGet: {path: /live, port: admin}
  periodSeconds: 10
  timeoutSeconds: 3
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /ready, port: admin}
  periodSeconds: 3
  timeoutSeconds: 3
  failureThreshold: 2
{{- end -}}

{{- /* Who the pod is. */ -}}
{{- define "pod.container.identity" -}}
- name: POD_NAME
  valueFrom:
    fieldRef: {fieldPath: metadata.name}
{{- end -}}

{{- define "pod.container.log" -}}
- --log-format={{ .Values.log.format }}
{{- with .Values.log.filter }}
- {{ printf "--log=%s" . | quote }}
{{- end }}
{{- end -}}

{{- /* A mounted certificate. The pod waits until all three keys are there: 0440 octal, for the group
of the program. Takes name. */ -}}
{{- define "pod.volume.tls" -}}
- name: tls
  secret:
    secretName: {{ .name }}
    defaultMode: 288
    items:
      - {key: ca.crt, path: ca.crt}
      - {key: tls.crt, path: tls.crt}
      - {key: tls.key, path: tls.key}
{{- end -}}
