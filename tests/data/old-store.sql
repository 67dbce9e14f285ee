PRAGMA user_version = 0;
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('6953534de441');
CREATE TABLE "datasets" (
	dataset_uuid VARCHAR(36) NOT NULL, 
	experiment_id INTEGER NOT NULL, 
	name VARCHAR(500) NOT NULL, 
	digest VARCHAR(36) NOT NULL, 
	dataset_source_type VARCHAR(36) NOT NULL, 
	dataset_source TEXT NOT NULL, 
	dataset_schema TEXT, 
	dataset_profile TEXT, 
	CONSTRAINT dataset_pk PRIMARY KEY (experiment_id, name, digest), 
	CONSTRAINT fk_datasets_experiment_id_experiments FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id) ON DELETE CASCADE
);
CREATE TABLE experiment_tags (
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(5000), 
	experiment_id INTEGER NOT NULL, 
	CONSTRAINT experiment_tag_pk PRIMARY KEY ("key", experiment_id), 
	FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id)
);
INSERT INTO "experiment_tags" VALUES('kdrec.schema','1',1);
INSERT INTO "experiment_tags" VALUES('mlflow.note.content','Study **old** of kdrec: which knowledge-distillation configuration to use.

- One parent run per cell (task/student) and one child run per trial; teachers have runs of their own.
- A trial is named by distance, teacher, alpha, tau_t/tau_s and seed, which are also its only params: select trials and *Compare* to see what differs, and choose `val_score` and the params under *Columns*.
- `val_score` and `test_score` are the metric of the task, 0-100, higher is better; no choice sees the test.
- `kdrec.status`: started, completed, diverged (kept as evidence), failed, replaced.',1);
CREATE TABLE experiments (
	experiment_id INTEGER NOT NULL, 
	name VARCHAR(256) NOT NULL, 
	artifact_location VARCHAR(256), 
	lifecycle_stage VARCHAR(32), creation_time BIGINT, last_update_time BIGINT, 
	CONSTRAINT experiment_pk PRIMARY KEY (experiment_id), 
	CONSTRAINT experiments_lifecycle_stage CHECK (lifecycle_stage IN ('active', 'deleted')), 
	UNIQUE (name)
);
INSERT INTO "experiments" VALUES(0,'Default','file:///tmp/kdrec-old-home/artifacts/0','active',1795554088978,1795554088978);
INSERT INTO "experiments" VALUES(1,'old','file:///tmp/kdrec-old-home/artifacts/old','active',1795554089412,1795554089412);
CREATE TABLE input_tags (
	input_uuid VARCHAR(36) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	value VARCHAR(500) NOT NULL, 
	CONSTRAINT input_tags_pk PRIMARY KEY (input_uuid, name)
);
CREATE TABLE inputs (
	input_uuid VARCHAR(36) NOT NULL, 
	source_type VARCHAR(36) NOT NULL, 
	source_id VARCHAR(36) NOT NULL, 
	destination_type VARCHAR(36) NOT NULL, 
	destination_id VARCHAR(36) NOT NULL, step BIGINT DEFAULT '0' NOT NULL, 
	CONSTRAINT inputs_pk PRIMARY KEY (source_type, source_id, destination_type, destination_id)
);
CREATE TABLE "latest_metrics" (
	"key" VARCHAR(250) NOT NULL, 
	value FLOAT NOT NULL, 
	timestamp BIGINT, 
	step BIGINT NOT NULL, 
	is_nan BOOLEAN NOT NULL, 
	run_uuid VARCHAR(32) NOT NULL, 
	CONSTRAINT latest_metric_pk PRIMARY KEY ("key", run_uuid), 
	FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid), 
	CHECK (is_nan IN (0, 1))
);
INSERT INTO "latest_metrics" VALUES('teacher_score/lr 0.0001 seed 0',91.0,1795554089692,10,0,'7166bb04b4ad4ba3848c6e6bafe7ff8d');
INSERT INTO "latest_metrics" VALUES('teacher_loss/lr 0.0001 seed 0',0.3,1795554089692,10,0,'7166bb04b4ad4ba3848c6e6bafe7ff8d');
INSERT INTO "latest_metrics" VALUES('teacher_ece/lr 0.0001 seed 0',0.05,1795554089692,10,0,'7166bb04b4ad4ba3848c6e6bafe7ff8d');
INSERT INTO "latest_metrics" VALUES('t_hs_score',91.0,1795554091047,0,0,'7166bb04b4ad4ba3848c6e6bafe7ff8d');
INSERT INTO "latest_metrics" VALUES('t_hs_loss',0.3,1795554091047,0,0,'7166bb04b4ad4ba3848c6e6bafe7ff8d');
INSERT INTO "latest_metrics" VALUES('t_hs_ece',0.05,1795554091047,0,0,'7166bb04b4ad4ba3848c6e6bafe7ff8d');
INSERT INTO "latest_metrics" VALUES('t_ll_score',91.0,1795554091047,0,0,'7166bb04b4ad4ba3848c6e6bafe7ff8d');
INSERT INTO "latest_metrics" VALUES('t_ll_loss',0.3,1795554091047,0,0,'7166bb04b4ad4ba3848c6e6bafe7ff8d');
INSERT INTO "latest_metrics" VALUES('t_ll_ece',0.05,1795554091047,0,0,'7166bb04b4ad4ba3848c6e6bafe7ff8d');
INSERT INTO "latest_metrics" VALUES('validation/score',80.0,1795554091431,10,0,'71887d735e724f7d97602e747d62d88f');
INSERT INTO "latest_metrics" VALUES('val_score',3.33333333333333357026e+01,1795554091553,0,0,'71887d735e724f7d97602e747d62d88f');
INSERT INTO "latest_metrics" VALUES('val_loss',3.00000000000000044408e-01,1795554091553,0,0,'71887d735e724f7d97602e747d62d88f');
INSERT INTO "latest_metrics" VALUES('test_score',85.2,1795554091553,0,0,'71887d735e724f7d97602e747d62d88f');
INSERT INTO "latest_metrics" VALUES('seconds',31.25,1795554091553,0,0,'71887d735e724f7d97602e747d62d88f');
INSERT INTO "latest_metrics" VALUES('validation/score',80.0,1795554091793,10,0,'a84ffb17fede4c66a0a04ae39559fe83');
INSERT INTO "latest_metrics" VALUES('val_score',86.1,1795554091936,0,0,'a84ffb17fede4c66a0a04ae39559fe83');
INSERT INTO "latest_metrics" VALUES('val_loss',3.00000000000000044408e-01,1795554091936,0,0,'a84ffb17fede4c66a0a04ae39559fe83');
INSERT INTO "latest_metrics" VALUES('test_score',85.2,1795554091936,0,0,'a84ffb17fede4c66a0a04ae39559fe83');
INSERT INTO "latest_metrics" VALUES('seconds',31.25,1795554091936,0,0,'a84ffb17fede4c66a0a04ae39559fe83');
INSERT INTO "latest_metrics" VALUES('validation/score',80.0,1795554092252,10,0,'00d418f5ad0e401fadd7d2f0abe7ae91');
INSERT INTO "latest_metrics" VALUES('val_score',88.5,1795554092440,0,0,'00d418f5ad0e401fadd7d2f0abe7ae91');
INSERT INTO "latest_metrics" VALUES('val_loss',3.00000000000000044408e-01,1795554092440,0,0,'00d418f5ad0e401fadd7d2f0abe7ae91');
INSERT INTO "latest_metrics" VALUES('test_score',85.2,1795554092440,0,0,'00d418f5ad0e401fadd7d2f0abe7ae91');
INSERT INTO "latest_metrics" VALUES('seconds',31.25,1795554092440,0,0,'00d418f5ad0e401fadd7d2f0abe7ae91');
INSERT INTO "latest_metrics" VALUES('validation/score',80.0,1795554092780,10,0,'0ad33c72f4e2491e8ea657c92c16b7c2');
INSERT INTO "latest_metrics" VALUES('val_score',80.0,1795554092922,0,0,'0ad33c72f4e2491e8ea657c92c16b7c2');
INSERT INTO "latest_metrics" VALUES('val_loss',3.00000000000000044408e-01,1795554092922,0,0,'0ad33c72f4e2491e8ea657c92c16b7c2');
INSERT INTO "latest_metrics" VALUES('seconds',31.25,1795554092922,0,0,'0ad33c72f4e2491e8ea657c92c16b7c2');
INSERT INTO "latest_metrics" VALUES('validation/score',80.0,1795554093180,10,0,'ecd7c5c2cf684e7c8f67486e22f77dfe');
INSERT INTO "latest_metrics" VALUES('val_score',79.0,1795554093311,0,0,'ecd7c5c2cf684e7c8f67486e22f77dfe');
INSERT INTO "latest_metrics" VALUES('val_loss',3.00000000000000044408e-01,1795554093311,0,0,'ecd7c5c2cf684e7c8f67486e22f77dfe');
INSERT INTO "latest_metrics" VALUES('test_score',85.2,1795554093311,0,0,'ecd7c5c2cf684e7c8f67486e22f77dfe');
INSERT INTO "latest_metrics" VALUES('seconds',31.25,1795554093311,0,0,'ecd7c5c2cf684e7c8f67486e22f77dfe');
INSERT INTO "latest_metrics" VALUES('validation/score',80.0,1795554093568,10,0,'487fe9f7f3d74b1dba1c224f8bb8892a');
INSERT INTO "latest_metrics" VALUES('seconds',31.25,1795554093684,0,0,'487fe9f7f3d74b1dba1c224f8bb8892a');
INSERT INTO "latest_metrics" VALUES('validation/score',80.0,1795554093965,10,0,'6e75839919af4106b9b8c766426d6440');
INSERT INTO "latest_metrics" VALUES('seconds',31.25,1795554094204,0,0,'6e75839919af4106b9b8c766426d6440');
INSERT INTO "latest_metrics" VALUES('val_score',86.1,1795554094360,0,0,'bffb63f2bbe740bba75565f8bdda0871');
CREATE TABLE logged_model_metrics (
	model_id VARCHAR(36) NOT NULL, 
	metric_name VARCHAR(500) NOT NULL, 
	metric_timestamp_ms BIGINT NOT NULL, 
	metric_step BIGINT NOT NULL, 
	metric_value FLOAT, 
	experiment_id INTEGER NOT NULL, 
	run_id VARCHAR(32) NOT NULL, 
	dataset_uuid VARCHAR(36), 
	dataset_name VARCHAR(500), 
	dataset_digest VARCHAR(36), 
	CONSTRAINT logged_model_metrics_pk PRIMARY KEY (model_id, metric_name, metric_timestamp_ms, metric_step, run_id), 
	CONSTRAINT fk_logged_model_metrics_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id), 
	CONSTRAINT fk_logged_model_metrics_model_id FOREIGN KEY(model_id) REFERENCES logged_models (model_id) ON DELETE CASCADE, 
	CONSTRAINT fk_logged_model_metrics_run_id FOREIGN KEY(run_id) REFERENCES runs (run_uuid) ON DELETE CASCADE
);
CREATE TABLE logged_model_params (
	model_id VARCHAR(36) NOT NULL, 
	experiment_id INTEGER NOT NULL, 
	param_key VARCHAR(255) NOT NULL, 
	param_value TEXT NOT NULL, 
	CONSTRAINT logged_model_params_pk PRIMARY KEY (model_id, param_key), 
	CONSTRAINT fk_logged_model_params_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id), 
	CONSTRAINT fk_logged_model_params_model_id FOREIGN KEY(model_id) REFERENCES logged_models (model_id) ON DELETE CASCADE
);
CREATE TABLE logged_model_tags (
	model_id VARCHAR(36) NOT NULL, 
	experiment_id INTEGER NOT NULL, 
	tag_key VARCHAR(255) NOT NULL, 
	tag_value TEXT NOT NULL, 
	CONSTRAINT logged_model_tags_pk PRIMARY KEY (model_id, tag_key), 
	CONSTRAINT fk_logged_model_tags_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id), 
	CONSTRAINT fk_logged_model_tags_model_id FOREIGN KEY(model_id) REFERENCES logged_models (model_id) ON DELETE CASCADE
);
CREATE TABLE logged_models (
	model_id VARCHAR(36) NOT NULL, 
	experiment_id INTEGER NOT NULL, 
	name VARCHAR(500) NOT NULL, 
	artifact_location VARCHAR(1000) NOT NULL, 
	creation_timestamp_ms BIGINT NOT NULL, 
	last_updated_timestamp_ms BIGINT NOT NULL, 
	status INTEGER NOT NULL, 
	lifecycle_stage VARCHAR(32), 
	model_type VARCHAR(500), 
	source_run_id VARCHAR(32), 
	status_message VARCHAR(1000), 
	CONSTRAINT logged_models_pk PRIMARY KEY (model_id), 
	CONSTRAINT logged_models_lifecycle_stage_check CHECK (lifecycle_stage IN ('active', 'deleted')), 
	CONSTRAINT fk_logged_models_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id) ON DELETE CASCADE
);
CREATE TABLE "metrics" (
	"key" VARCHAR(250) NOT NULL, 
	value FLOAT NOT NULL, 
	timestamp BIGINT NOT NULL, 
	run_uuid VARCHAR(32) NOT NULL, 
	step BIGINT DEFAULT '0' NOT NULL, 
	is_nan BOOLEAN DEFAULT '0' NOT NULL, 
	CONSTRAINT metric_pk PRIMARY KEY ("key", timestamp, step, run_uuid, value, is_nan), 
	FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid), 
	CHECK (is_nan IN (0, 1))
);
INSERT INTO "metrics" VALUES('teacher_score/lr 0.0001 seed 0',91.0,1795554089692,'7166bb04b4ad4ba3848c6e6bafe7ff8d',10,0);
INSERT INTO "metrics" VALUES('teacher_loss/lr 0.0001 seed 0',0.3,1795554089692,'7166bb04b4ad4ba3848c6e6bafe7ff8d',10,0);
INSERT INTO "metrics" VALUES('teacher_ece/lr 0.0001 seed 0',0.05,1795554089692,'7166bb04b4ad4ba3848c6e6bafe7ff8d',10,0);
INSERT INTO "metrics" VALUES('t_hs_score',91.0,1795554091047,'7166bb04b4ad4ba3848c6e6bafe7ff8d',0,0);
INSERT INTO "metrics" VALUES('t_hs_loss',0.3,1795554091047,'7166bb04b4ad4ba3848c6e6bafe7ff8d',0,0);
INSERT INTO "metrics" VALUES('t_hs_ece',0.05,1795554091047,'7166bb04b4ad4ba3848c6e6bafe7ff8d',0,0);
INSERT INTO "metrics" VALUES('t_ll_score',91.0,1795554091047,'7166bb04b4ad4ba3848c6e6bafe7ff8d',0,0);
INSERT INTO "metrics" VALUES('t_ll_loss',0.3,1795554091047,'7166bb04b4ad4ba3848c6e6bafe7ff8d',0,0);
INSERT INTO "metrics" VALUES('t_ll_ece',0.05,1795554091047,'7166bb04b4ad4ba3848c6e6bafe7ff8d',0,0);
INSERT INTO "metrics" VALUES('validation/score',80.0,1795554091431,'71887d735e724f7d97602e747d62d88f',10,0);
INSERT INTO "metrics" VALUES('val_score',3.33333333333333357026e+01,1795554091553,'71887d735e724f7d97602e747d62d88f',0,0);
INSERT INTO "metrics" VALUES('val_loss',3.00000000000000044408e-01,1795554091553,'71887d735e724f7d97602e747d62d88f',0,0);
INSERT INTO "metrics" VALUES('test_score',85.2,1795554091553,'71887d735e724f7d97602e747d62d88f',0,0);
INSERT INTO "metrics" VALUES('seconds',31.25,1795554091553,'71887d735e724f7d97602e747d62d88f',0,0);
INSERT INTO "metrics" VALUES('validation/score',80.0,1795554091793,'a84ffb17fede4c66a0a04ae39559fe83',10,0);
INSERT INTO "metrics" VALUES('val_score',86.1,1795554091936,'a84ffb17fede4c66a0a04ae39559fe83',0,0);
INSERT INTO "metrics" VALUES('val_loss',3.00000000000000044408e-01,1795554091936,'a84ffb17fede4c66a0a04ae39559fe83',0,0);
INSERT INTO "metrics" VALUES('test_score',85.2,1795554091936,'a84ffb17fede4c66a0a04ae39559fe83',0,0);
INSERT INTO "metrics" VALUES('seconds',31.25,1795554091936,'a84ffb17fede4c66a0a04ae39559fe83',0,0);
INSERT INTO "metrics" VALUES('validation/score',80.0,1795554092252,'00d418f5ad0e401fadd7d2f0abe7ae91',10,0);
INSERT INTO "metrics" VALUES('val_score',88.5,1795554092440,'00d418f5ad0e401fadd7d2f0abe7ae91',0,0);
INSERT INTO "metrics" VALUES('val_loss',3.00000000000000044408e-01,1795554092440,'00d418f5ad0e401fadd7d2f0abe7ae91',0,0);
INSERT INTO "metrics" VALUES('test_score',85.2,1795554092440,'00d418f5ad0e401fadd7d2f0abe7ae91',0,0);
INSERT INTO "metrics" VALUES('seconds',31.25,1795554092440,'00d418f5ad0e401fadd7d2f0abe7ae91',0,0);
INSERT INTO "metrics" VALUES('validation/score',80.0,1795554092780,'0ad33c72f4e2491e8ea657c92c16b7c2',10,0);
INSERT INTO "metrics" VALUES('val_score',80.0,1795554092922,'0ad33c72f4e2491e8ea657c92c16b7c2',0,0);
INSERT INTO "metrics" VALUES('val_loss',3.00000000000000044408e-01,1795554092922,'0ad33c72f4e2491e8ea657c92c16b7c2',0,0);
INSERT INTO "metrics" VALUES('seconds',31.25,1795554092922,'0ad33c72f4e2491e8ea657c92c16b7c2',0,0);
INSERT INTO "metrics" VALUES('validation/score',80.0,1795554093180,'ecd7c5c2cf684e7c8f67486e22f77dfe',10,0);
INSERT INTO "metrics" VALUES('val_score',79.0,1795554093311,'ecd7c5c2cf684e7c8f67486e22f77dfe',0,0);
INSERT INTO "metrics" VALUES('val_loss',3.00000000000000044408e-01,1795554093311,'ecd7c5c2cf684e7c8f67486e22f77dfe',0,0);
INSERT INTO "metrics" VALUES('test_score',85.2,1795554093311,'ecd7c5c2cf684e7c8f67486e22f77dfe',0,0);
INSERT INTO "metrics" VALUES('seconds',31.25,1795554093311,'ecd7c5c2cf684e7c8f67486e22f77dfe',0,0);
INSERT INTO "metrics" VALUES('validation/score',80.0,1795554093568,'487fe9f7f3d74b1dba1c224f8bb8892a',10,0);
INSERT INTO "metrics" VALUES('seconds',31.25,1795554093684,'487fe9f7f3d74b1dba1c224f8bb8892a',0,0);
INSERT INTO "metrics" VALUES('validation/score',80.0,1795554093965,'6e75839919af4106b9b8c766426d6440',10,0);
INSERT INTO "metrics" VALUES('seconds',31.25,1795554094204,'6e75839919af4106b9b8c766426d6440',0,0);
INSERT INTO "metrics" VALUES('val_score',86.1,1795554094360,'bffb63f2bbe740bba75565f8bdda0871',0,0);
CREATE TABLE model_version_tags (
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(5000), 
	name VARCHAR(256) NOT NULL, 
	version INTEGER NOT NULL, 
	CONSTRAINT model_version_tag_pk PRIMARY KEY ("key", name, version), 
	FOREIGN KEY(name, version) REFERENCES model_versions (name, version) ON UPDATE cascade
);
CREATE TABLE "model_versions" (
	name VARCHAR(256) NOT NULL, 
	version INTEGER NOT NULL, 
	creation_time BIGINT, 
	last_updated_time BIGINT, 
	description VARCHAR(5000), 
	user_id VARCHAR(256), 
	current_stage VARCHAR(20), 
	source VARCHAR(500), 
	run_id VARCHAR(32), 
	status VARCHAR(20), 
	status_message VARCHAR(500), 
	run_link VARCHAR(500), storage_location VARCHAR(500), 
	CONSTRAINT model_version_pk PRIMARY KEY (name, version), 
	FOREIGN KEY(name) REFERENCES registered_models (name) ON UPDATE CASCADE
);
CREATE TABLE "params" (
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(8000) NOT NULL, 
	run_uuid VARCHAR(32) NOT NULL, 
	CONSTRAINT param_pk PRIMARY KEY ("key", run_uuid), 
	FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid)
);
INSERT INTO "params" VALUES('task','trec','7166bb04b4ad4ba3848c6e6bafe7ff8d');
INSERT INTO "params" VALUES('teacher','minilm-l6','7166bb04b4ad4ba3848c6e6bafe7ff8d');
INSERT INTO "params" VALUES('epochs','4','7166bb04b4ad4ba3848c6e6bafe7ff8d');
INSERT INTO "params" VALUES('alpha','0','71887d735e724f7d97602e747d62d88f');
INSERT INTO "params" VALUES('distance','ce','71887d735e724f7d97602e747d62d88f');
INSERT INTO "params" VALUES('teacher','t_ll','71887d735e724f7d97602e747d62d88f');
INSERT INTO "params" VALUES('tau_t','1','71887d735e724f7d97602e747d62d88f');
INSERT INTO "params" VALUES('tau_s','1','71887d735e724f7d97602e747d62d88f');
INSERT INTO "params" VALUES('seed','0','71887d735e724f7d97602e747d62d88f');
INSERT INTO "params" VALUES('alpha','0.5','a84ffb17fede4c66a0a04ae39559fe83');
INSERT INTO "params" VALUES('distance','ce','a84ffb17fede4c66a0a04ae39559fe83');
INSERT INTO "params" VALUES('teacher','t_ll','a84ffb17fede4c66a0a04ae39559fe83');
INSERT INTO "params" VALUES('tau_t','1','a84ffb17fede4c66a0a04ae39559fe83');
INSERT INTO "params" VALUES('tau_s','1','a84ffb17fede4c66a0a04ae39559fe83');
INSERT INTO "params" VALUES('seed','0','a84ffb17fede4c66a0a04ae39559fe83');
INSERT INTO "params" VALUES('alpha','0.5','00d418f5ad0e401fadd7d2f0abe7ae91');
INSERT INTO "params" VALUES('distance','ce','00d418f5ad0e401fadd7d2f0abe7ae91');
INSERT INTO "params" VALUES('teacher','t_ll','00d418f5ad0e401fadd7d2f0abe7ae91');
INSERT INTO "params" VALUES('tau_t','4','00d418f5ad0e401fadd7d2f0abe7ae91');
INSERT INTO "params" VALUES('tau_s','1','00d418f5ad0e401fadd7d2f0abe7ae91');
INSERT INTO "params" VALUES('seed','1','00d418f5ad0e401fadd7d2f0abe7ae91');
INSERT INTO "params" VALUES('alpha','0.5','0ad33c72f4e2491e8ea657c92c16b7c2');
INSERT INTO "params" VALUES('distance','mse','0ad33c72f4e2491e8ea657c92c16b7c2');
INSERT INTO "params" VALUES('teacher','t_ll','0ad33c72f4e2491e8ea657c92c16b7c2');
INSERT INTO "params" VALUES('tau_t','1','0ad33c72f4e2491e8ea657c92c16b7c2');
INSERT INTO "params" VALUES('tau_s','1','0ad33c72f4e2491e8ea657c92c16b7c2');
INSERT INTO "params" VALUES('seed','0','0ad33c72f4e2491e8ea657c92c16b7c2');
INSERT INTO "params" VALUES('alpha','1','ecd7c5c2cf684e7c8f67486e22f77dfe');
INSERT INTO "params" VALUES('distance','ce','ecd7c5c2cf684e7c8f67486e22f77dfe');
INSERT INTO "params" VALUES('teacher','t_ll','ecd7c5c2cf684e7c8f67486e22f77dfe');
INSERT INTO "params" VALUES('tau_t','1','ecd7c5c2cf684e7c8f67486e22f77dfe');
INSERT INTO "params" VALUES('tau_s','1','ecd7c5c2cf684e7c8f67486e22f77dfe');
INSERT INTO "params" VALUES('scale_soft_loss','tau_t*tau_s','ecd7c5c2cf684e7c8f67486e22f77dfe');
INSERT INTO "params" VALUES('seed','0','ecd7c5c2cf684e7c8f67486e22f77dfe');
INSERT INTO "params" VALUES('alpha','0.5','487fe9f7f3d74b1dba1c224f8bb8892a');
INSERT INTO "params" VALUES('distance','ce','487fe9f7f3d74b1dba1c224f8bb8892a');
INSERT INTO "params" VALUES('teacher','t_hs','487fe9f7f3d74b1dba1c224f8bb8892a');
INSERT INTO "params" VALUES('tau_t','1','487fe9f7f3d74b1dba1c224f8bb8892a');
INSERT INTO "params" VALUES('tau_s','1','487fe9f7f3d74b1dba1c224f8bb8892a');
INSERT INTO "params" VALUES('seed','0','487fe9f7f3d74b1dba1c224f8bb8892a');
INSERT INTO "params" VALUES('alpha','0.5','6e75839919af4106b9b8c766426d6440');
INSERT INTO "params" VALUES('distance','ce','6e75839919af4106b9b8c766426d6440');
INSERT INTO "params" VALUES('teacher','t_ll','6e75839919af4106b9b8c766426d6440');
INSERT INTO "params" VALUES('tau_t','2','6e75839919af4106b9b8c766426d6440');
INSERT INTO "params" VALUES('tau_s','1','6e75839919af4106b9b8c766426d6440');
INSERT INTO "params" VALUES('seed','0','6e75839919af4106b9b8c766426d6440');
CREATE TABLE registered_model_aliases (
	alias VARCHAR(256) NOT NULL, 
	version INTEGER NOT NULL, 
	name VARCHAR(256) NOT NULL, 
	CONSTRAINT registered_model_alias_pk PRIMARY KEY (name, alias), 
	CONSTRAINT registered_model_alias_name_fkey FOREIGN KEY(name) REFERENCES registered_models (name) ON DELETE cascade ON UPDATE cascade
);
CREATE TABLE registered_model_tags (
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(5000), 
	name VARCHAR(256) NOT NULL, 
	CONSTRAINT registered_model_tag_pk PRIMARY KEY ("key", name), 
	FOREIGN KEY(name) REFERENCES registered_models (name) ON UPDATE cascade
);
CREATE TABLE registered_models (
	name VARCHAR(256) NOT NULL, 
	creation_time BIGINT, 
	last_updated_time BIGINT, 
	description VARCHAR(5000), 
	CONSTRAINT registered_model_pk PRIMARY KEY (name), 
	UNIQUE (name)
);
CREATE TABLE "runs" (
	run_uuid VARCHAR(32) NOT NULL, 
	name VARCHAR(250), 
	source_type VARCHAR(20), 
	source_name VARCHAR(500), 
	entry_point_name VARCHAR(50), 
	user_id VARCHAR(256), 
	status VARCHAR(9), 
	start_time BIGINT, 
	end_time BIGINT, 
	source_version VARCHAR(50), 
	lifecycle_stage VARCHAR(20), 
	artifact_uri VARCHAR(200), 
	experiment_id INTEGER, deleted_time BIGINT, 
	CONSTRAINT run_pk PRIMARY KEY (run_uuid), 
	CONSTRAINT runs_lifecycle_stage CHECK (lifecycle_stage IN ('active', 'deleted')), 
	CONSTRAINT source_type CHECK (source_type IN ('NOTEBOOK', 'JOB', 'LOCAL', 'UNKNOWN', 'PROJECT')), 
	FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id), 
	CHECK (status IN ('SCHEDULED', 'FAILED', 'FINISHED', 'RUNNING', 'KILLED'))
);
INSERT INTO "runs" VALUES('bffb63f2bbe740bba75565f8bdda0871','trec/small','UNKNOWN','','','unknown','FINISHED',1795554089505,1795554094319,'','active','file:///tmp/kdrec-old-home/artifacts/old/bffb63f2bbe740bba75565f8bdda0871/artifacts',1,NULL);
INSERT INTO "runs" VALUES('7166bb04b4ad4ba3848c6e6bafe7ff8d','teacher of trec','UNKNOWN','','','unknown','FINISHED',1795554089660,1795554089995,'','active','file:///tmp/kdrec-old-home/artifacts/old/7166bb04b4ad4ba3848c6e6bafe7ff8d/artifacts',1,NULL);
INSERT INTO "runs" VALUES('71887d735e724f7d97602e747d62d88f','labels only s0','UNKNOWN','','','unknown','FINISHED',1795554091260,1795554091484,'','active','file:///tmp/kdrec-old-home/artifacts/old/71887d735e724f7d97602e747d62d88f/artifacts',1,NULL);
INSERT INTO "runs" VALUES('a84ffb17fede4c66a0a04ae39559fe83','ce t_ll 0.5 1/1 s0','UNKNOWN','','','unknown','FINISHED',1795554091688,1795554091873,'','active','file:///tmp/kdrec-old-home/artifacts/old/a84ffb17fede4c66a0a04ae39559fe83/artifacts',1,NULL);
INSERT INTO "runs" VALUES('00d418f5ad0e401fadd7d2f0abe7ae91','ce t_ll 0.5 4/1 s1','UNKNOWN','','','unknown','FINISHED',1795554092115,1795554092366,'','active','file:///tmp/kdrec-old-home/artifacts/old/00d418f5ad0e401fadd7d2f0abe7ae91/artifacts',1,NULL);
INSERT INTO "runs" VALUES('0ad33c72f4e2491e8ea657c92c16b7c2','mse t_ll 0.5 s0','UNKNOWN','','','unknown','FINISHED',1795554092611,1795554092849,'','active','file:///tmp/kdrec-old-home/artifacts/old/0ad33c72f4e2491e8ea657c92c16b7c2/artifacts',1,NULL);
INSERT INTO "runs" VALUES('ecd7c5c2cf684e7c8f67486e22f77dfe','ce t_ll 1 1/1 s0 scaled','UNKNOWN','','','unknown','FINISHED',1795554093064,1795554093280,'','active','file:///tmp/kdrec-old-home/artifacts/old/ecd7c5c2cf684e7c8f67486e22f77dfe/artifacts',1,NULL);
INSERT INTO "runs" VALUES('487fe9f7f3d74b1dba1c224f8bb8892a','ce t_hs 0.5 1/1 s0','UNKNOWN','','','unknown','FINISHED',1795554093438,1795554093633,'','active','file:///tmp/kdrec-old-home/artifacts/old/487fe9f7f3d74b1dba1c224f8bb8892a/artifacts',1,NULL);
INSERT INTO "runs" VALUES('6e75839919af4106b9b8c766426d6440','ce t_ll 0.5 2/1 s0','UNKNOWN','','','unknown','FAILED',1795554093852,1795554094147,'','active','file:///tmp/kdrec-old-home/artifacts/old/6e75839919af4106b9b8c766426d6440/artifacts',1,NULL);
CREATE TABLE "tags" (
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(8000), 
	run_uuid VARCHAR(32) NOT NULL, 
	CONSTRAINT tag_pk PRIMARY KEY ("key", run_uuid), 
	FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid)
);
INSERT INTO "tags" VALUES('kdrec.schema','1','bffb63f2bbe740bba75565f8bdda0871');
INSERT INTO "tags" VALUES('kdrec.kind','cell','bffb63f2bbe740bba75565f8bdda0871');
INSERT INTO "tags" VALUES('kdrec.status','completed','bffb63f2bbe740bba75565f8bdda0871');
INSERT INTO "tags" VALUES('kdrec.fingerprint','042251a07ff78c56bab5d0905e4738f28371a3b3bddce83dc584e33714792693','bffb63f2bbe740bba75565f8bdda0871');
INSERT INTO "tags" VALUES('mlflow.runName','trec/small','bffb63f2bbe740bba75565f8bdda0871');
INSERT INTO "tags" VALUES('mlflow.note.content','The end of an old cell.','bffb63f2bbe740bba75565f8bdda0871');
INSERT INTO "tags" VALUES('kdrec.cell','trec/small','bffb63f2bbe740bba75565f8bdda0871');
INSERT INTO "tags" VALUES('kdrec.features','{"task": "trec", "family": "sentence", "n_train": 3000, "n_classes": 6, "label_entropy": 0.30000000000000004, "mean_tokens": 11.5, "teacher_score": 91.0, "teacher_nll": 0.3, "teacher_ece": 0.05, "student_params": 5000000, "teacher_params": 22000000}','bffb63f2bbe740bba75565f8bdda0871');
INSERT INTO "tags" VALUES('kdrec.training','{"learning_rate": 0.0006, "epochs": 4, "batch_size": 32, "max_length": 128, "seed": 0, "warmup_ratio": 0.1, "weight_decay": 0.01, "max_grad_norm": 1.0, "gradient_accumulation_steps": 1, "evaluations_per_epoch": 1}','bffb63f2bbe740bba75565f8bdda0871');
INSERT INTO "tags" VALUES('kdrec.rows','{"train": 3000}','bffb63f2bbe740bba75565f8bdda0871');
INSERT INTO "tags" VALUES('kdrec.schema','1','7166bb04b4ad4ba3848c6e6bafe7ff8d');
INSERT INTO "tags" VALUES('kdrec.kind','teacher','7166bb04b4ad4ba3848c6e6bafe7ff8d');
INSERT INTO "tags" VALUES('kdrec.status','completed','7166bb04b4ad4ba3848c6e6bafe7ff8d');
INSERT INTO "tags" VALUES('kdrec.fingerprint','275cba1a6891e1409892329395c67b8894d142a55e2a7e0989ef9bd695c8b7f7','7166bb04b4ad4ba3848c6e6bafe7ff8d');
INSERT INTO "tags" VALUES('mlflow.runName','teacher of trec','7166bb04b4ad4ba3848c6e6bafe7ff8d');
INSERT INTO "tags" VALUES('mlflow.note.content','Teacher of **trec**, chosen from 1 evaluated checkpoints: `t_hs` has the highest validation score, `t_ll` the lowest validation loss; ties go to the earlier checkpoint.

| Choice | Learning rate | Seed | Epoch | Validation score | Validation loss | Calibration error |
|---|--:|--:|--:|--:|--:|--:|
| `t_hs` | 0.0001 | 0 | 1 | 91.00 | 0.3000 | 0.0500 |
| `t_ll` | 0.0001 | 0 | 1 | 91.00 | 0.3000 | 0.0500 |

All checkpoints are in the artifact `trace.json`.','7166bb04b4ad4ba3848c6e6bafe7ff8d');
INSERT INTO "tags" VALUES('kdrec.t_hs','{"learning_rate": 0.0001, "seed": 0, "step": 10, "epoch": 1.0, "score": 91.0, "loss": 0.3, "ece": 0.05, "checkpoint": "ab"}','7166bb04b4ad4ba3848c6e6bafe7ff8d');
INSERT INTO "tags" VALUES('kdrec.t_ll','{"learning_rate": 0.0001, "seed": 0, "step": 10, "epoch": 1.0, "score": 91.0, "loss": 0.3, "ece": 0.05, "checkpoint": "ab"}','7166bb04b4ad4ba3848c6e6bafe7ff8d');
INSERT INTO "tags" VALUES('kdrec.schema','1','71887d735e724f7d97602e747d62d88f');
INSERT INTO "tags" VALUES('kdrec.kind','trial','71887d735e724f7d97602e747d62d88f');
INSERT INTO "tags" VALUES('kdrec.status','completed','71887d735e724f7d97602e747d62d88f');
INSERT INTO "tags" VALUES('kdrec.fingerprint','old0','71887d735e724f7d97602e747d62d88f');
INSERT INTO "tags" VALUES('mlflow.runName','labels only s0','71887d735e724f7d97602e747d62d88f');
INSERT INTO "tags" VALUES('mlflow.note.content','labels only, seed 0: small on trec.','71887d735e724f7d97602e747d62d88f');
INSERT INTO "tags" VALUES('kdrec.cell','trec/small','71887d735e724f7d97602e747d62d88f');
INSERT INTO "tags" VALUES('kdrec.student','small','71887d735e724f7d97602e747d62d88f');
INSERT INTO "tags" VALUES('kdrec.features','{"task": "trec", "family": "sentence", "n_train": 3000, "n_classes": 6, "label_entropy": 0.30000000000000004, "mean_tokens": 11.5, "teacher_score": 91.0, "teacher_nll": 0.3, "teacher_ece": 0.05, "student_params": 5000000, "teacher_params": 22000000}','71887d735e724f7d97602e747d62d88f');
INSERT INTO "tags" VALUES('kdrec.training','{"learning_rate": 0.0006, "epochs": 4, "batch_size": 32, "max_length": 128, "seed": 0, "warmup_ratio": 0.1, "weight_decay": 0.01, "max_grad_norm": 1.0, "gradient_accumulation_steps": 1, "evaluations_per_epoch": 1}','71887d735e724f7d97602e747d62d88f');
INSERT INTO "tags" VALUES('mlflow.parentRunId','bffb63f2bbe740bba75565f8bdda0871','71887d735e724f7d97602e747d62d88f');
INSERT INTO "tags" VALUES('kdrec.result','{"val_score": 33.333333333333336, "val_loss": 0.30000000000000004, "test_score": 85.2, "seconds": 31.25}','71887d735e724f7d97602e747d62d88f');
INSERT INTO "tags" VALUES('kdrec.schema','1','a84ffb17fede4c66a0a04ae39559fe83');
INSERT INTO "tags" VALUES('kdrec.kind','trial','a84ffb17fede4c66a0a04ae39559fe83');
INSERT INTO "tags" VALUES('kdrec.status','completed','a84ffb17fede4c66a0a04ae39559fe83');
INSERT INTO "tags" VALUES('kdrec.fingerprint','old1','a84ffb17fede4c66a0a04ae39559fe83');
INSERT INTO "tags" VALUES('mlflow.runName','ce t_ll 0.5 1/1 s0','a84ffb17fede4c66a0a04ae39559fe83');
INSERT INTO "tags" VALUES('mlflow.note.content','t\_ll ce alpha=0.5 tau=1/1, seed 0: small on trec.','a84ffb17fede4c66a0a04ae39559fe83');
INSERT INTO "tags" VALUES('kdrec.cell','trec/small','a84ffb17fede4c66a0a04ae39559fe83');
INSERT INTO "tags" VALUES('kdrec.student','small','a84ffb17fede4c66a0a04ae39559fe83');
INSERT INTO "tags" VALUES('kdrec.features','{"task": "trec", "family": "sentence", "n_train": 3000, "n_classes": 6, "label_entropy": 0.30000000000000004, "mean_tokens": 11.5, "teacher_score": 91.0, "teacher_nll": 0.3, "teacher_ece": 0.05, "student_params": 5000000, "teacher_params": 22000000}','a84ffb17fede4c66a0a04ae39559fe83');
INSERT INTO "tags" VALUES('kdrec.training','{"learning_rate": 0.0006, "epochs": 4, "batch_size": 32, "max_length": 128, "seed": 0, "warmup_ratio": 0.1, "weight_decay": 0.01, "max_grad_norm": 1.0, "gradient_accumulation_steps": 1, "evaluations_per_epoch": 1}','a84ffb17fede4c66a0a04ae39559fe83');
INSERT INTO "tags" VALUES('mlflow.parentRunId','bffb63f2bbe740bba75565f8bdda0871','a84ffb17fede4c66a0a04ae39559fe83');
INSERT INTO "tags" VALUES('kdrec.result','{"val_score": 86.1, "val_loss": 0.30000000000000004, "test_score": 85.2, "seconds": 31.25}','a84ffb17fede4c66a0a04ae39559fe83');
INSERT INTO "tags" VALUES('kdrec.schema','1','00d418f5ad0e401fadd7d2f0abe7ae91');
INSERT INTO "tags" VALUES('kdrec.kind','trial','00d418f5ad0e401fadd7d2f0abe7ae91');
INSERT INTO "tags" VALUES('kdrec.status','completed','00d418f5ad0e401fadd7d2f0abe7ae91');
INSERT INTO "tags" VALUES('kdrec.fingerprint','old2','00d418f5ad0e401fadd7d2f0abe7ae91');
INSERT INTO "tags" VALUES('mlflow.runName','ce t_ll 0.5 4/1 s1','00d418f5ad0e401fadd7d2f0abe7ae91');
INSERT INTO "tags" VALUES('mlflow.note.content','t\_ll ce alpha=0.5 tau=4/1, seed 1: small on trec.','00d418f5ad0e401fadd7d2f0abe7ae91');
INSERT INTO "tags" VALUES('kdrec.cell','trec/small','00d418f5ad0e401fadd7d2f0abe7ae91');
INSERT INTO "tags" VALUES('kdrec.student','small','00d418f5ad0e401fadd7d2f0abe7ae91');
INSERT INTO "tags" VALUES('kdrec.features','{"task": "trec", "family": "sentence", "n_train": 3000, "n_classes": 6, "label_entropy": 0.30000000000000004, "mean_tokens": 11.5, "teacher_score": 91.0, "teacher_nll": 0.3, "teacher_ece": 0.05, "student_params": 5000000, "teacher_params": 22000000}','00d418f5ad0e401fadd7d2f0abe7ae91');
INSERT INTO "tags" VALUES('kdrec.training','{"learning_rate": 0.0006, "epochs": 4, "batch_size": 32, "max_length": 128, "seed": 1, "warmup_ratio": 0.1, "weight_decay": 0.01, "max_grad_norm": 1.0, "gradient_accumulation_steps": 1, "evaluations_per_epoch": 1}','00d418f5ad0e401fadd7d2f0abe7ae91');
INSERT INTO "tags" VALUES('mlflow.parentRunId','bffb63f2bbe740bba75565f8bdda0871','00d418f5ad0e401fadd7d2f0abe7ae91');
INSERT INTO "tags" VALUES('kdrec.result','{"val_score": 88.5, "val_loss": 0.30000000000000004, "test_score": 85.2, "seconds": 31.25}','00d418f5ad0e401fadd7d2f0abe7ae91');
INSERT INTO "tags" VALUES('kdrec.schema','1','0ad33c72f4e2491e8ea657c92c16b7c2');
INSERT INTO "tags" VALUES('kdrec.kind','trial','0ad33c72f4e2491e8ea657c92c16b7c2');
INSERT INTO "tags" VALUES('kdrec.status','completed','0ad33c72f4e2491e8ea657c92c16b7c2');
INSERT INTO "tags" VALUES('kdrec.fingerprint','old3','0ad33c72f4e2491e8ea657c92c16b7c2');
INSERT INTO "tags" VALUES('mlflow.runName','mse t_ll 0.5 s0','0ad33c72f4e2491e8ea657c92c16b7c2');
INSERT INTO "tags" VALUES('mlflow.note.content','t\_ll mse alpha=0.5, seed 0: small on trec.','0ad33c72f4e2491e8ea657c92c16b7c2');
INSERT INTO "tags" VALUES('kdrec.cell','trec/small','0ad33c72f4e2491e8ea657c92c16b7c2');
INSERT INTO "tags" VALUES('kdrec.student','small','0ad33c72f4e2491e8ea657c92c16b7c2');
INSERT INTO "tags" VALUES('kdrec.features','{"task": "trec", "family": "sentence", "n_train": 3000, "n_classes": 6, "label_entropy": 0.30000000000000004, "mean_tokens": 11.5, "teacher_score": 91.0, "teacher_nll": 0.3, "teacher_ece": 0.05, "student_params": 5000000, "teacher_params": 22000000}','0ad33c72f4e2491e8ea657c92c16b7c2');
INSERT INTO "tags" VALUES('kdrec.training','{"learning_rate": 0.0006, "epochs": 4, "batch_size": 32, "max_length": 128, "seed": 0, "warmup_ratio": 0.1, "weight_decay": 0.01, "max_grad_norm": 1.0, "gradient_accumulation_steps": 1, "evaluations_per_epoch": 1}','0ad33c72f4e2491e8ea657c92c16b7c2');
INSERT INTO "tags" VALUES('mlflow.parentRunId','bffb63f2bbe740bba75565f8bdda0871','0ad33c72f4e2491e8ea657c92c16b7c2');
INSERT INTO "tags" VALUES('kdrec.result','{"val_score": 80.0, "val_loss": 0.30000000000000004, "seconds": 31.25}','0ad33c72f4e2491e8ea657c92c16b7c2');
INSERT INTO "tags" VALUES('kdrec.schema','1','ecd7c5c2cf684e7c8f67486e22f77dfe');
INSERT INTO "tags" VALUES('kdrec.kind','trial','ecd7c5c2cf684e7c8f67486e22f77dfe');
INSERT INTO "tags" VALUES('kdrec.status','completed','ecd7c5c2cf684e7c8f67486e22f77dfe');
INSERT INTO "tags" VALUES('kdrec.fingerprint','old4','ecd7c5c2cf684e7c8f67486e22f77dfe');
INSERT INTO "tags" VALUES('mlflow.runName','ce t_ll 1 1/1 s0 scaled','ecd7c5c2cf684e7c8f67486e22f77dfe');
INSERT INTO "tags" VALUES('mlflow.note.content','t\_ll ce alpha=1 tau=1/1 scaled, seed 0: small on trec.','ecd7c5c2cf684e7c8f67486e22f77dfe');
INSERT INTO "tags" VALUES('kdrec.cell','trec/small','ecd7c5c2cf684e7c8f67486e22f77dfe');
INSERT INTO "tags" VALUES('kdrec.student','small','ecd7c5c2cf684e7c8f67486e22f77dfe');
INSERT INTO "tags" VALUES('kdrec.features','{"task": "trec", "family": "sentence", "n_train": 3000, "n_classes": 6, "label_entropy": 0.30000000000000004, "mean_tokens": 11.5, "teacher_score": 91.0, "teacher_nll": 0.3, "teacher_ece": 0.05, "student_params": 5000000, "teacher_params": 22000000}','ecd7c5c2cf684e7c8f67486e22f77dfe');
INSERT INTO "tags" VALUES('kdrec.training','{"learning_rate": 0.0006, "epochs": 4, "batch_size": 32, "max_length": 128, "seed": 0, "warmup_ratio": 0.1, "weight_decay": 0.01, "max_grad_norm": 1.0, "gradient_accumulation_steps": 1, "evaluations_per_epoch": 1}','ecd7c5c2cf684e7c8f67486e22f77dfe');
INSERT INTO "tags" VALUES('mlflow.parentRunId','bffb63f2bbe740bba75565f8bdda0871','ecd7c5c2cf684e7c8f67486e22f77dfe');
INSERT INTO "tags" VALUES('kdrec.result','{"val_score": 79.0, "val_loss": 0.30000000000000004, "test_score": 85.2, "seconds": 31.25}','ecd7c5c2cf684e7c8f67486e22f77dfe');
INSERT INTO "tags" VALUES('kdrec.schema','1','487fe9f7f3d74b1dba1c224f8bb8892a');
INSERT INTO "tags" VALUES('kdrec.kind','trial','487fe9f7f3d74b1dba1c224f8bb8892a');
INSERT INTO "tags" VALUES('kdrec.status','diverged','487fe9f7f3d74b1dba1c224f8bb8892a');
INSERT INTO "tags" VALUES('kdrec.fingerprint','old5','487fe9f7f3d74b1dba1c224f8bb8892a');
INSERT INTO "tags" VALUES('mlflow.runName','ce t_hs 0.5 1/1 s0','487fe9f7f3d74b1dba1c224f8bb8892a');
INSERT INTO "tags" VALUES('mlflow.note.content','t\_hs ce alpha=0.5 tau=1/1, seed 0: small on trec.','487fe9f7f3d74b1dba1c224f8bb8892a');
INSERT INTO "tags" VALUES('kdrec.cell','trec/small','487fe9f7f3d74b1dba1c224f8bb8892a');
INSERT INTO "tags" VALUES('kdrec.student','small','487fe9f7f3d74b1dba1c224f8bb8892a');
INSERT INTO "tags" VALUES('kdrec.features','{"task": "trec", "family": "sentence", "n_train": 3000, "n_classes": 6, "label_entropy": 0.30000000000000004, "mean_tokens": 11.5, "teacher_score": 91.0, "teacher_nll": 0.3, "teacher_ece": 0.05, "student_params": 5000000, "teacher_params": 22000000}','487fe9f7f3d74b1dba1c224f8bb8892a');
INSERT INTO "tags" VALUES('kdrec.training','{"learning_rate": 0.0006, "epochs": 4, "batch_size": 32, "max_length": 128, "seed": 0, "warmup_ratio": 0.1, "weight_decay": 0.01, "max_grad_norm": 1.0, "gradient_accumulation_steps": 1, "evaluations_per_epoch": 1}','487fe9f7f3d74b1dba1c224f8bb8892a');
INSERT INTO "tags" VALUES('mlflow.parentRunId','bffb63f2bbe740bba75565f8bdda0871','487fe9f7f3d74b1dba1c224f8bb8892a');
INSERT INTO "tags" VALUES('kdrec.result','{"seconds": 31.25}','487fe9f7f3d74b1dba1c224f8bb8892a');
INSERT INTO "tags" VALUES('kdrec.schema','1','6e75839919af4106b9b8c766426d6440');
INSERT INTO "tags" VALUES('kdrec.kind','trial','6e75839919af4106b9b8c766426d6440');
INSERT INTO "tags" VALUES('kdrec.status','failed','6e75839919af4106b9b8c766426d6440');
INSERT INTO "tags" VALUES('kdrec.fingerprint','old6','6e75839919af4106b9b8c766426d6440');
INSERT INTO "tags" VALUES('mlflow.runName','ce t_ll 0.5 2/1 s0','6e75839919af4106b9b8c766426d6440');
INSERT INTO "tags" VALUES('mlflow.note.content','t\_ll ce alpha=0.5 tau=2/1, seed 0: small on trec.','6e75839919af4106b9b8c766426d6440');
INSERT INTO "tags" VALUES('kdrec.cell','trec/small','6e75839919af4106b9b8c766426d6440');
INSERT INTO "tags" VALUES('kdrec.student','small','6e75839919af4106b9b8c766426d6440');
INSERT INTO "tags" VALUES('kdrec.features','{"task": "trec", "family": "sentence", "n_train": 3000, "n_classes": 6, "label_entropy": 0.30000000000000004, "mean_tokens": 11.5, "teacher_score": 91.0, "teacher_nll": 0.3, "teacher_ece": 0.05, "student_params": 5000000, "teacher_params": 22000000}','6e75839919af4106b9b8c766426d6440');
INSERT INTO "tags" VALUES('kdrec.training','{"learning_rate": 0.0006, "epochs": 4, "batch_size": 32, "max_length": 128, "seed": 0, "warmup_ratio": 0.1, "weight_decay": 0.01, "max_grad_norm": 1.0, "gradient_accumulation_steps": 1, "evaluations_per_epoch": 1}','6e75839919af4106b9b8c766426d6440');
INSERT INTO "tags" VALUES('mlflow.parentRunId','bffb63f2bbe740bba75565f8bdda0871','6e75839919af4106b9b8c766426d6440');
INSERT INTO "tags" VALUES('kdrec.result','{"seconds": 31.25}','6e75839919af4106b9b8c766426d6440');
CREATE TABLE trace_info (
	request_id VARCHAR(50) NOT NULL, 
	experiment_id INTEGER NOT NULL, 
	timestamp_ms BIGINT NOT NULL, 
	execution_time_ms BIGINT, 
	status VARCHAR(50) NOT NULL, 
	CONSTRAINT trace_info_pk PRIMARY KEY (request_id), 
	CONSTRAINT fk_trace_info_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id)
);
CREATE TABLE "trace_request_metadata" (
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(8000), 
	request_id VARCHAR(50) NOT NULL, 
	CONSTRAINT trace_request_metadata_pk PRIMARY KEY ("key", request_id), 
	CONSTRAINT fk_trace_request_metadata_request_id FOREIGN KEY(request_id) REFERENCES trace_info (request_id) ON DELETE CASCADE
);
CREATE TABLE "trace_tags" (
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(8000), 
	request_id VARCHAR(50) NOT NULL, 
	CONSTRAINT trace_tag_pk PRIMARY KEY ("key", request_id), 
	CONSTRAINT fk_trace_tags_request_id FOREIGN KEY(request_id) REFERENCES trace_info (request_id) ON DELETE CASCADE
);
CREATE INDEX index_metrics_run_uuid ON metrics (run_uuid);
CREATE INDEX index_latest_metrics_run_uuid ON latest_metrics (run_uuid);
CREATE INDEX index_inputs_input_uuid ON inputs (input_uuid);
CREATE INDEX index_inputs_destination_type_destination_id_source_type ON inputs (destination_type, destination_id, source_type);
CREATE INDEX index_params_run_uuid ON params (run_uuid);
CREATE INDEX index_trace_info_experiment_id_timestamp_ms ON trace_info (experiment_id, timestamp_ms);
CREATE INDEX index_trace_tags_request_id ON trace_tags (request_id);
CREATE INDEX index_trace_request_metadata_request_id ON trace_request_metadata (request_id);
CREATE INDEX index_tags_run_uuid ON tags (run_uuid);
CREATE INDEX index_datasets_experiment_id_dataset_source_type ON datasets (experiment_id, dataset_source_type);
CREATE INDEX index_datasets_dataset_uuid ON datasets (dataset_uuid);
CREATE INDEX index_logged_model_metrics_model_id ON logged_model_metrics (model_id);
COMMIT;
