{{/* The prefix of every name: "funclet" for a release of that name, RELEASE-funclet for another one. */}}
{{- define "funclet.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "funclet.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}

{{/* Arguments of the following: a dict of root (the chart's context) and role. */}}
{{- define "funclet.name" -}}
{{- printf "%s-%s" (include "funclet.fullname" .root) .role -}}
{{- end -}}

{{- define "funclet.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end -}}

{{- define "funclet.labels" -}}
{{ include "funclet.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: funclet
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "funclet.meta" -}}
name: {{ include "funclet.name" . }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "funclet.labels" . | nindent 2 }}
{{- end -}}

{{/* Rights are written as ClusterRoles, and bound in one namespace alone when watchNamespace names it. */}}
{{- define "funclet.binding" -}}
{{- $scoped := .root.Values.watchNamespace -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ ternary "RoleBinding" "ClusterRoleBinding" (not (empty $scoped)) }}
metadata:
  name: {{ include "funclet.name" . }}
  {{- with $scoped }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "funclet.labels" . | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ include "funclet.name" . }}
subjects:
  - kind: ServiceAccount
    name: {{ include "funclet.name" . }}
    namespace: {{ .root.Release.Namespace }}
{{- end -}}

{{/* The Kubernetes "restricted" profile. */}}
{{- define "funclet.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "funclet.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "funclet.placement" -}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The settings that every role has (docs/design/0001); the internal token is for those that talk to each other. */}}
{{- define "funclet.commonEnv" -}}
- name: FUNCLET_LOG_LEVEL
  value: {{ .Values.logLevel | quote }}
- name: FUNCLET_METRICS_PORT
  value: "9090"
{{- with .Values.watchNamespace }}
- name: FUNCLET_WATCH_NAMESPACE
  value: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "funclet.internalTokenEnv" -}}
- name: FUNCLET_INTERNAL_TOKEN
  valueFrom:
    secretKeyRef: {name: {{ include "funclet.internalSecret" . }}, key: internal-token}
{{- end -}}

{{- define "funclet.natsUrlEnv" -}}
- name: FUNCLET_NATS_URL
  {{- if .Values.nats.existingUrlSecret }}
  valueFrom:
    secretKeyRef: {name: {{ .Values.nats.existingUrlSecret }}, key: url}
  {{- else }}
  value: {{ .Values.nats.url | default (printf "nats://%s-nats.%s:4222" (include "funclet.fullname" .) .Release.Namespace) | quote }}
  {{- end }}
{{- end -}}

{{- define "funclet.regionEnv" -}}
- name: FUNCLET_REGION
  value: {{ .Values.region | quote }}
{{- end -}}

{{- define "funclet.scalerUrlEnv" -}}
- name: FUNCLET_SCALER_URL
  value: http://{{ include "funclet.fullname" . }}-scaler.{{ .Release.Namespace }}:8081
{{- end -}}

{{/* OpenTelemetry's own variables; nothing where no spans are wanted. */}}
{{- define "funclet.tracingEnv" -}}
{{- with .Values.tracing }}
{{- if .otlp.endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .otlp.endpoint | quote }}
{{- with .otlp.existingHeadersSecret }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom:
    secretKeyRef: {name: {{ . }}, key: headers}
{{- end }}
- name: OTEL_TRACES_SAMPLER
  value: {{ .sampler | quote }}
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ .samplerArgument | quote }}
{{- with .resourceAttributes }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ range $name, $value := . }}{{ $name }}={{ $value | urlquery | replace "+" "%20" }},{{ end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "funclet.internalSecret" -}}
{{- .Values.secrets.existingInternalSecret | default (printf "%s-internal" (include "funclet.fullname" .)) -}}
{{- end -}}

{{- define "funclet.managementKeySecret" -}}
{{- .Values.managementApi.existingKeySecret | default (printf "%s-management-key" (include "funclet.fullname" .)) -}}
{{- end -}}

{{- define "funclet.instanceSecret" -}}
{{- .Values.secrets.existingInstanceSecret | default (printf "%s-instances" (include "funclet.fullname" .)) -}}
{{- end -}}

{{/* How many servers hold each message: all of the chart's own. */}}
{{- define "funclet.streamReplicas" -}}
{{- $own := ternary (max 1 (int .Values.nats.replicas)) 1 (eq (include "funclet.ownNats" .) "true") -}}
{{- .Values.nats.streamReplicas | default $own -}}
{{- end -}}

{{- define "funclet.streamReplicasEnv" -}}
- name: FUNCLET_STREAM_REPLICAS
  value: {{ include "funclet.streamReplicas" . | quote }}
{{- end -}}

{{- define "funclet.ownNats" -}}
{{- if not (or .Values.nats.url .Values.nats.existingUrlSecret) }}true{{ end -}}
{{- end -}}

{{/* The pod of a role. Arguments: root, role, values (the role's), env and ports (text). */}}
{{- define "funclet.rolePod" -}}
metadata:
  labels:
    {{- include "funclet.labels" . | nindent 4 }}
  {{- if .root.Values.metrics.scrapeAnnotations }}
  annotations:
    prometheus.io/scrape: "true"
    prometheus.io/port: "9090"
    prometheus.io/path: /metrics
  {{- end }}
spec:
  serviceAccountName: {{ include "funclet.name" . }}
  enableServiceLinks: false
  {{- with .grace }}
  terminationGracePeriodSeconds: {{ . }}
  {{- end }}
  securityContext:
    {{- include "funclet.podSecurity" . | nindent 4 }}
  {{- with include "funclet.placement" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  containers:
    - name: {{ .role }}
      image: {{ include "funclet.image" .root }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      args: [{{ .role }}]
      env:
        {{- include "funclet.commonEnv" .root | nindent 8 }}
        {{- with .env }}
        {{- . | trim | nindent 8 }}
        {{- end }}
      ports:
        - {name: metrics, containerPort: 9090}
        {{- with .ports }}
        {{- . | trim | nindent 8 }}
        {{- end }}
      startupProbe:
        httpGet: {path: /healthz, port: metrics}
        periodSeconds: 1
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /healthz, port: metrics}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /readyz, port: metrics}
        periodSeconds: 2
        timeoutSeconds: 2
      resources:
        {{- toYaml .values.resources | nindent 8 }}
      securityContext:
        {{- include "funclet.containerSecurity" . | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
  volumes:
    - name: tmp
      emptyDir: {sizeLimit: 256Mi}
{{- end -}}
