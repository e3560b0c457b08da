//! The two macros that declare rows and statements.

/// Declares row structs.
macro_rules! rows {
    ($($(#[$meta:meta])* $row:ident { $($(#[$field_meta:meta])* $column:ident: $type:ty,)+ })+) => {$(
        $(#[$meta])*
        #[derive(Debug, sqlx::FromRow)]
        pub(crate) struct $row {
            $($(#[$field_meta])* pub(crate) $column: $type,)+
        }

        impl $crate::store::sql::Row for $row {
            fn read(row: &sqlx::postgres::PgRow) -> Result<Self, $crate::error::BrokerError> {
                Ok(<Self as sqlx::FromRow<'_, sqlx::postgres::PgRow>>::from_row(row)?)
            }

            #[cfg(test)]
            fn columns() -> Vec<$crate::store::sql::tests::Column> {
                vec![$($crate::store::sql::tests::Column::of::<$type>(stringify!($column))),+]
            }
        }
    )+};
}

/// Declares statements: the struct, its file, its parameters in the order of the file's head, its row.
macro_rules! statements {
    ($($(#[$meta:meta])* $name:ident $(<$life:lifetime>)? = $file:literal {
        $($parameter:ident: $type:ty),* $(,)?
    } -> $row:ty;)+) => {
        $(
            #[doc = concat!("`src/sql/", $file, "`")]
            $(#[$meta])*
            #[derive(Debug)]
            pub(crate) struct $name $(<$life>)? {
                $(pub(crate) $parameter: $type,)*
            }

            impl $(<$life>)? $crate::store::sql::Statement for $name $(<$life>)? {
                const SQL: &'static str = include_str!(concat!("../../sql/", $file));
                type Row = $row;

                fn arguments(
                    self,
                ) -> Result<sqlx::postgres::PgArguments, $crate::error::BrokerError> {
                    #[allow(unused_mut, reason = "a statement may have no parameters")]
                    let mut arguments = sqlx::postgres::PgArguments::default();
                    $($crate::store::sql::bind(&mut arguments, self.$parameter)?;)*
                    Ok(arguments)
                }
            }
        )+

        /// Every statement, for the test that prepares them.
        #[cfg(test)]
        #[allow(clippy::extra_unused_lifetimes, reason = "the parameters' types name it")]
        pub(super) fn every<'a>() -> Vec<$crate::store::sql::tests::Shape> {
            vec![$($crate::store::sql::tests::Shape {
                file: $file,
                sql: include_str!(concat!("../../sql/", $file)),
                parameters: vec![$(
                    $crate::store::sql::tests::parameter::<$type>(stringify!($parameter))
                ),*],
                columns: <$row as $crate::store::sql::Row>::columns(),
            }),+]
        }
    };
}
